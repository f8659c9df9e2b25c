test_balance := backends/balance.c
test_route := backends/route.c backends/pattern.c
test_place := backends/place.c
test_tickets := admin/tickets.c
test_ipc := proxy/ipc.c proxy/ipc_codec.c
test_reply := proxy/imap/reply.c
test_quote := proxy/imap/quote.c
test_caps := proxy/imap/caps.c proxy/imap/quote.c
