fuzz_ipc := proxy/ipc_codec.c
