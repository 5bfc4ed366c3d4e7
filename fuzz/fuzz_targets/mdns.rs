#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| inglenook_fuzz::mdns::mdns(data));
