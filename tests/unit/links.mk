test_balance := backends/balance.c
test_route := backends/route.c backends/pattern.c
