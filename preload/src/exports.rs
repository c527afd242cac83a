//! The exported names, made from the table in `gate::calls`.

use crate::arch::children::{fork_bracket, reap_bracket};
use crate::arch::look_up::looks_up;
use crate::arch::past::{
    close_bracket, confine_bracket, dup2_bracket, make_bracket, rename_bracket, unlink_bracket,
};
use crate::arch::straight::straight_bracket;
use crate::arch::trampoline::{bracket, with_argv, with_va_list};
use gate::calls::Call;

macro_rules! export {
    ($($kind:ident $name:ident [$($alias:ident)*] $body:tt $what:literal;)*) => {
        $( one!($kind $name $name $body); $( one!($kind $alias $name $body); )* )*
    };
}

macro_rules! body {
    ($name:ident (Fd (0))) => {
        straight_bracket!(Call::$name, "writegate_straight_fd")
    };
    ($name:ident (Sync (0))) => {
        straight_bracket!(Call::$name, "writegate_straight_fd")
    };
    ($name:ident (Stream $argument:tt)) => {
        straight_bracket!(Call::$name, "writegate_straight")
    };
    ($name:ident (Path $arguments:tt)) => {
        straight_bracket!(Call::$name, "writegate_straight")
    };
    ($name:ident (Attributes $argument:tt)) => {
        straight_bracket!(Call::$name, "writegate_straight")
    };
    ($name:ident (Make $arguments:tt)) => {
        make_bracket!(Call::$name)
    };
    ($name:ident (Unlink $arguments:tt)) => {
        unlink_bracket!(Call::$name)
    };
    ($name:ident (Paths $arguments:tt)) => {
        rename_bracket!(Call::$name)
    };
    ($name:ident (Close $argument:tt)) => {
        close_bracket!(Call::$name)
    };
    ($name:ident (Dup2)) => {
        dup2_bracket!(Call::$name)
    };
    ($name:ident (Fork)) => {
        fork_bracket!(Call::$name)
    };
    (waitid (Reap)) => {
        bracket!(Call::waitid)
    };
    (wait (Reap)) => {
        reap_bracket!(Call::wait, "writegate_reap_first")
    };
    (wait3 (Reap)) => {
        reap_bracket!(Call::wait3, "writegate_reap_first")
    };
    ($name:ident (Reap)) => {
        reap_bracket!(Call::$name, "writegate_reap_second")
    };
    ($name:ident (Confine)) => {
        confine_bracket!(Call::$name)
    };
    ($name:ident $rule:tt) => {
        bracket!(Call::$name)
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
            body!($name $rule)
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
    (listed $export:ident $name:ident ($target:ident)) => {
        /// Forwards to its sibling that takes an array; see `gate::calls`.
        ///
        /// # Safety
        /// As the libc function of this name.
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        pub unsafe extern "C" fn $export() {
            with_argv!($target)
        }
    };
    (look_up $export:ident $name:ident ()) => {
        /// Forwards; where it finds a function of libc that the table has, it hands out the export.
        ///
        /// # Safety
        /// As the libc function of this name.
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        pub unsafe extern "C" fn $export() {
            looks_up!(Call::$name)
        }
    };
}

gate::for_each_call!(export);
