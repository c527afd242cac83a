//! The exported names, made from the table in `gate::calls`.

use crate::arch::{bracket, with_va_list};
use gate::calls::Call;

macro_rules! export {
    ($($kind:ident $name:ident [$($alias:ident)*] $body:tt $what:literal;)*) => {
        $( one!($kind $name $name $body); $( one!($kind $alias $name $body); )* )*
    };
}

macro_rules! one {
    (call $export:ident $name:ident $rule:tt) => {
        /// Forwards; see `gate::calls`.
        ///
        /// # Safety
        /// As the libc function of this name.
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        pub unsafe extern "C" fn $export() {
            bracket!(Call::$name)
        }
    };
    (variadic $export:ident $name:ident ($target:ident, $named:tt)) => {
        /// Forwards to its `va_list` sibling; see `gate::calls`.
        ///
        /// # Safety
        /// As the libc function of this name.
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        pub unsafe extern "C" fn $export() {
            with_va_list!(Call::$target, $named)
        }
    };
}

gate::for_each_call!(export);
