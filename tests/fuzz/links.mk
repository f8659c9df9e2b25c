fuzz_ipc := proxy/ipc_codec.c
fuzz_frame := proxy/frame.c
fuzz_proxyline := proxy/proxyline.c
fuzz_reply := proxy/imap/reply.c proxy/imap/caps.c proxy/imap/quote.c
fuzz_login := backends/login.c backends/login_send.c backends/login_id.c \
	backends/login_failure.c proxy/imap/reply.c proxy/imap/quote.c \
	proxy/imap/caps.c
fuzz_settings := admin/conf.c backends/conf.c backends/url.c \
	backends/ldap_text.c proxy/conf.c \
	backends/geo_code.c backends/pattern.c
fuzz_command := proxy/imap/command.c proxy/imap/id.c proxy/imap/lex.c \
	proxy/imap/quote.c
fuzz_sasl := proxy/imap/sasl.c
fuzz_preauth := proxy/preauth.c proxy/preauth_sasl.c proxy/imap/command.c \
	proxy/imap/id.c proxy/imap/lex.c proxy/imap/quote.c proxy/imap/sasl.c
fuzz_request := admin/request.c
fuzz_auth_http := backends/auth_http_wire.c
fuzz_resolve_srv := backends/resolve_srv.c
