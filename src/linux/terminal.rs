//! The terminal's window.
#![allow(unsafe_code)]

/// Rows and columns of the terminal that stdout is.
pub fn window() -> Option<(usize, usize)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one winsize, which `size` is.
    let got = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &mut size) };
    (got == 0 && size.ws_row > 0 && size.ws_col > 0)
        .then_some((size.ws_row.into(), size.ws_col.into()))
}
