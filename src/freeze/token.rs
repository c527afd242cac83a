//! The token of a freeze that another command will thaw: `GATES:DEADLINES:NONCE`.
//!
//! The second part is the barrier word (the generation); the nonce is what only
//! the command that froze can know. The library reads the first two parts of
//! `WRITEGATE_TOKEN` to see that a process belongs to the freezer.

use crate::gatedir::check_name;
use crate::linux::{clock, file};
use crate::outcome::fault::{Fault, Result, TOKEN};

/// A token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token {
    /// Gates, in the order of their locks.
    pub gates: Vec<String>,
    /// Barrier words, in the same order.
    pub deadlines: Vec<u64>,
    /// Of this freeze alone.
    pub nonce: u64,
}

impl Token {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Token> {
        let foreign = || {
            Fault::new(
                TOKEN,
                format!(
                    "`{text}` is not a token: they look like mail:812…:3f9c…, and `writegate freeze` without \
                 a command prints one. Without it the gate opens by itself at the freeze's limit"
                ),
            )
        };
        let mut parts = text.trim().split(':');
        let (Some(gates), Some(deadlines), Some(nonce), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(foreign());
        };
        let gates: Vec<String> = gates.split(',').map(str::to_owned).collect();
        let deadlines: std::result::Result<Vec<u64>, _> =
            deadlines.split(',').map(str::parse).collect();
        let nonce = u64::from_str_radix(nonce, 16).map_err(|_| foreign())?;
        let deadlines = deadlines.map_err(|_| foreign())?;
        if gates.len() != deadlines.len() || gates.iter().any(|g| g.is_empty()) {
            return Err(foreign());
        }
        for gate in &gates {
            check_name(gate).map_err(|_| foreign())?;
        }
        Ok(Token { gates, deadlines, nonce })
    }

    /// A number that cannot be guessed.
    pub fn fresh_nonce() -> u64 {
        // Only hard to guess for lack of better: the socket is root's anyway.
        file::random().unwrap_or_else(|| clock::now_ns() ^ (std::process::id() as u64) << 32)
    }
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let deadlines: Vec<String> = self.deadlines.iter().map(u64::to_string).collect();
        write!(f, "{}:{}:{:016x}", self.gates.join(","), deadlines.join(","), self.nonce)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_as_it_was_written() {
        let token =
            Token { gates: vec!["a".into(), "b@1".into()], deadlines: vec![5, 6], nonce: 0xabc };
        assert_eq!(Token::parse(&format!("{token}\n")).unwrap(), token);
        for bad in ["", "mail", "mail:5", "mail:x:1", "mail:5:zz", "a,b:5:1", "../x:5:1", "a:1:1:1"]
        {
            assert_eq!(Token::parse(bad).unwrap_err().code, TOKEN, "{bad}");
        }
    }
}
