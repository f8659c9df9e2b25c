#!/bin/sh
# SPDX-License-Identifier: MIT
# Copyright 2026 The Mailweir authors
#
# run.sh [PYTEST ARGUMENTS] - the end-to-end tests, several at once
#
# They wait far more than they compute, so more run than there are CPUs.
# E2E_JOBS=0 runs them one after the other, in this process.

cd "$(dirname "$0")/../.." || exit 1
[ $# -gt 0 ] || set -- tests/e2e
exec env PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -m pytest -q \
    -c tests/e2e/pytest.ini --rootdir tests/e2e -p no:cacheprovider \
    -n "${E2E_JOBS:-4}" --dist load "$@"
