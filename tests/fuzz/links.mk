fuzz_ipc := proxy/ipc_codec.c
fuzz_frame := proxy/frame.c
fuzz_proxyline := proxy/proxyline.c
