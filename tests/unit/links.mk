test_balance := backends/balance.c
