# All settings' rows.
CONF := admin/conf.c backends/conf.c backends/url.c backends/ldap_text.c \
	proxy/conf.c backends/geo_code.c backends/pattern.c

test_balance := backends/balance.c
test_route := backends/route.c backends/pattern.c backends/geo_code.c \
	backends/balance.c
test_region := backends/region.c $(CONF)
test_fileload := backends/fileload.c backends/filewatch.c
test_geo := backends/geo.c backends/geo_code.c backends/fileload.c \
	backends/filewatch.c
test_place := backends/place.c
test_tickets := admin/tickets.c
test_ipc := proxy/ipc.c proxy/ipc_codec.c
test_reply := proxy/imap/reply.c
test_quote := proxy/imap/quote.c
test_caps := proxy/imap/caps.c proxy/imap/quote.c
test_frame := proxy/frame.c
test_proxyline := proxy/proxyline.c
test_crc32c :=
RESOLVE := backends/resolve.c backends/resolve_srv.c
test_resolve := $(RESOLVE)
test_faults := backends/faults.c
test_snapshot := proxy/snapshot.c backends/backend_tls.c backends/target.c \
	$(CONF)
test_farm := backends/farm.c backends/faults.c backends/target.c \
	backends/condition.c backends/bucket.c \
	backends/balance.c proxy/imap/caps.c proxy/imap/quote.c $(CONF) \
	$(RESOLVE)
test_sandbox := proxy/sandbox.c
test_lex := proxy/imap/lex.c
test_command := proxy/imap/command.c proxy/imap/lex.c
test_sasl := proxy/imap/sasl.c
test_id := proxy/imap/id.c proxy/imap/lex.c proxy/imap/quote.c
test_preauth := proxy/preauth.c proxy/preauth_sasl.c proxy/imap/command.c \
	proxy/imap/id.c proxy/imap/lex.c proxy/imap/quote.c proxy/imap/sasl.c
LOGIN := backends/login.c backends/login_send.c backends/login_id.c \
	backends/login_failure.c proxy/imap/reply.c proxy/imap/quote.c \
	proxy/imap/caps.c
test_login := $(LOGIN)
test_login_failure := $(LOGIN)
test_login_wire := $(LOGIN)
DECIDE := backends/decide.c backends/decide_stages.c \
	backends/decide_balance.c backends/plan.c backends/auth.c \
	backends/latency.c \
	backends/moves.c backends/hook.c backends/keep.c \
	backends/keep_file.c backends/table.c \
	backends/table_cache.c backends/table_value.c backends/farm.c \
	backends/condition.c backends/bucket.c backends/balance.c \
	backends/route.c backends/region.c backends/geo.c backends/place.c \
	backends/fileload.c backends/filewatch.c backends/faults.c \
	backends/target.c $(RESOLVE) $(CONF) \
	proxy/imap/caps.c proxy/imap/quote.c
test_decide := $(DECIDE)
test_decide_names := $(DECIDE)
test_decide_auth := $(DECIDE)
test_decide_health := $(DECIDE)
test_user :=
test_base64 :=
test_settings := $(CONF)
test_settings_errors := $(CONF)
test_control := admin/control.c proxy/bundle.c admin/tickets.c admin/conf.c \
	admin/console.c admin/call.c admin/request.c admin/render.c \
	admin/names.c admin/order.c admin/operator.c $(wildcard admin/verbs*.c) \
	proxy/conf.c proxy/ipc.c proxy/ipc_codec.c proxy/imap/caps.c \
	proxy/imap/quote.c proxy/imap/reply.c \
	$(filter-out $(MODULE_SRC),$(wildcard backends/*.c))
test_console := $(test_control)
test_mem :=
test_buf :=
test_addr :=
test_log :=
test_deadline :=
test_stream :=
test_tlsctx :=
test_sockets := admin/sockets.c $(CONF) proxy/ipc.c proxy/ipc_codec.c
test_notify := admin/notify.c
TABLE := backends/latency.c backends/target.c backends/table.c backends/table_cache.c \
	backends/table_value.c $(CONF)
test_table := $(TABLE)
test_table_store := $(TABLE) backends/table_lmdb.c backends/table_store.c \
	backends/table_store_build.c backends/filewatch.c
test_table_redis := $(TABLE) backends/table_redis.c $(RESOLVE)
test_table_popmap := backends/table_popmap.c
TABLE_FILE := $(TABLE) backends/table_file.c backends/table_map.c \
	backends/table_popmap.c backends/pattern_search.c \
	backends/fileload.c backends/filewatch.c backends/textfile.c
test_table_file := $(TABLE_FILE)
test_moves := backends/moves.c backends/drain.c backends/hook.c \
	backends/keep.c backends/keep_file.c backends/place.c $(CONF)
test_request := admin/request.c
test_render := admin/render.c
test_keep := backends/keep.c backends/keep_file.c
test_http_client := backends/http_client.c
LIBS_test_http_client := $(MODULE_LIBS_http)
test_url := backends/url.c
test_table_http := $(TABLE) backends/table_http.c backends/http_client.c
LIBS_test_table_http := $(MODULE_LIBS_http)
test_tlscert :=
test_auth_http := backends/latency.c backends/auth.c backends/auth_http.c \
	backends/auth_http_wire.c backends/http_client.c $(CONF)
LIBS_test_auth_http := $(MODULE_LIBS_http)
test_blocker := backends/blocker.c
test_passwd := backends/passwd.c backends/textfile.c
test_auth_file := backends/latency.c backends/auth.c backends/auth_file.c backends/blocker.c \
	backends/fileload.c backends/filewatch.c backends/passwd.c \
	backends/textfile.c $(CONF)
test_ldap_text := backends/ldap_text.c
test_ldap_client := backends/blocker.c backends/ldap_client.c \
	backends/ldap_dial.c backends/ldap_reply.c backends/ldap_check.c
LIBS_test_ldap_client := $(MODULE_LIBS_ldap)
test_bucket := backends/bucket.c
test_condition := backends/condition.c
test_health := backends/health.c backends/change.c backends/check.c \
	backends/condition.c \
	backends/bucket.c backends/farm.c backends/backend_tls.c \
	backends/place.c backends/faults.c backends/target.c \
	backends/balance.c $(RESOLVE) $(CONF) $(LOGIN)
