# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
"""The instruments of the end-to-end tests"""
