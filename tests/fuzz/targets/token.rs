//! A token, as somebody may give it to `thaw`: what is read is what is written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use writegate_fuzz::freeze::token::Token;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(token) = Token::parse(text) {
        assert_eq!(token.gates.len(), token.deadlines.len());
        assert!(token.gates.iter().all(|gate| !gate.contains('/') && !gate.starts_with('.')));
        assert_eq!(Token::parse(&token.to_string()).unwrap(), token);
    }
});
