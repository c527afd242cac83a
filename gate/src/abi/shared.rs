//! The marker of what may lie in shared memory, and the declarations that earn it.
//!
//! Each declaration makes a digest of what it declares (`SHAPE`), so that nothing can be
//! added or moved without [`crate::layout::LAYOUT`] changing.

use super::digest::Digest;
use core::sync::atomic::{AtomicI32, AtomicU8, AtomicU32, AtomicU64};

/// May lie in memory that two processes share, neither of which trusts the other.
///
/// # Safety
///
/// The type is an integer, an atomic integer, or an array or `repr(C)` struct of such: no
/// pointer, no reference, no padding, no bits that it may not hold, and the same layout in
/// every process. Structs get it from `shared!` only, which checks each of their fields.
pub unsafe trait Shared {
    /// A digest of names, places, sizes and types: another number, another layout.
    const SHAPE: u64;
}

macro_rules! integers {
    ($($ty:ty),*) => {
        $(
            // SAFETY: an integer of fixed size: any bits are a value, and it has no padding.
            unsafe impl Shared for $ty {
                const SHAPE: u64 = Digest::new()
                    .text(stringify!($ty))
                    .number(core::mem::size_of::<$ty>() as u64)
                    .value();
            }
        )*
    };
}

integers!(u8, u32, AtomicU8, AtomicU32, AtomicU64, AtomicI32);

// SAFETY: an array is its elements, one behind the other.
unsafe impl<T: Shared, const N: usize> Shared for [T; N] {
    const SHAPE: u64 = Digest::new().text("array").number(N as u64).number(T::SHAPE).value();
}

/// Declares a `repr(C)` struct that may lie in shared memory.
macro_rules! shared {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $($(#[$field_meta:meta])* $field_vis:vis $field:ident: $ty:ty,)*
        }
    ) => {
        $(#[$meta])*
        $vis struct $name {
            $($(#[$field_meta])* $field_vis $field: $ty,)*
        }

        const _: () = assert!(
            0 $(+ core::mem::size_of::<$ty>())* == core::mem::size_of::<$name>(),
            "padding: a field for it, or its bytes are nobody's"
        );

        // SAFETY: every field is `Shared` (its SHAPE is asked for below), and their sizes make
        // up the whole, so there is no padding.
        unsafe impl $crate::abi::Shared for $name {
            const SHAPE: u64 = {
                let mut digest = $crate::abi::Digest::new()
                    .text(stringify!($name))
                    .number(core::mem::size_of::<$name>() as u64)
                    .number(core::mem::align_of::<$name>() as u64);
                $(
                    digest = digest
                        .text(stringify!($field))
                        .number(core::mem::offset_of!($name, $field) as u64)
                        .number(<$ty as $crate::abi::Shared>::SHAPE);
                )*
                digest.value()
            };
        }
    };
}
pub(crate) use shared;

/// Declares constants that mean something in shared memory, and a digest of their names
/// and values.
macro_rules! constants {
    (
        $(#[$shape_meta:meta])* $shape_vis:vis shape $shape:ident;
        $($(#[$meta:meta])* $vis:vis const $name:ident: $ty:ty = $value:expr;)*
    ) => {
        $($(#[$meta])* $vis const $name: $ty = $value;)*

        $(#[$shape_meta])*
        $shape_vis const $shape: u64 = {
            let mut digest = $crate::abi::Digest::new();
            $(digest = digest.text(stringify!($name)).number($name as u64);)*
            digest.value()
        };
    };
}
pub(crate) use constants;

/// Declares an enum whose values stand in shared memory, and a digest of their names and
/// numbers.
macro_rules! values {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $($(#[$value_meta:meta])* $value:ident = $number:literal,)*
        }
    ) => {
        $(#[$meta])*
        $vis enum $name {
            $($(#[$value_meta])* $value = $number,)*
        }

        impl $name {
            /// Changes with the names and numbers of the values.
            pub(crate) const SHAPE: u64 = {
                let mut digest = $crate::abi::Digest::new().text(stringify!($name));
                $(digest = digest.text(stringify!($value)).number($name::$value as u64);)*
                digest.value()
            };
        }
    };
}
pub(crate) use values;

#[cfg(test)]
mod tests {
    use super::*;

    shared! {
        #[repr(C)]
        struct Before {
            a: AtomicU32,
            b: AtomicU32,
            c: AtomicU64,
        }
    }

    mod moved {
        use super::*;
        shared! {
            #[repr(C)]
            struct Before {
                b: AtomicU32,
                a: AtomicU32,
                c: AtomicU64,
            }
        }
        pub const SHAPE: u64 = Before::SHAPE;
    }

    mod signed {
        use super::*;
        shared! {
            #[repr(C)]
            struct Before {
                a: AtomicI32,
                b: AtomicU32,
                c: AtomicU64,
            }
        }
        pub const SHAPE: u64 = Before::SHAPE;
    }

    mod same {
        use super::*;
        shared! {
            /// With another comment.
            #[repr(C)]
            pub struct Before {
                a: AtomicU32,
                b: AtomicU32,
                pub c: AtomicU64,
            }
        }
        pub const SHAPE: u64 = Before::SHAPE;
    }

    #[test]
    fn a_field_that_moves_or_changes_its_type_is_another_layout() {
        assert_ne!(Before::SHAPE, moved::SHAPE);
        assert_ne!(Before::SHAPE, signed::SHAPE);
        assert_ne!(<[u8; 3]>::SHAPE, <[u8; 4]>::SHAPE);
        assert_eq!(Before::SHAPE, same::SHAPE, "comments and visibility are none");
    }

    mod meanings {
        constants! {
            pub shape BEFORE;
            pub const ONE: u32 = 1;
            pub const TWO: u32 = 2;
        }
    }

    mod renamed {
        constants! {
            pub shape AFTER;
            pub const ONE: u32 = 1;
            pub const DEUX: u32 = 2;
        }
    }

    mod renumbered {
        constants! {
            pub shape AFTER;
            pub const ONE: u32 = 1;
            pub const TWO: u32 = 4;
        }
    }

    #[test]
    fn a_flag_with_another_value_or_name_is_another_layout() {
        assert_eq!(
            (meanings::ONE, meanings::TWO, renamed::ONE + renumbered::ONE),
            (1, renamed::DEUX, renumbered::TWO - 2)
        );
        assert_ne!(meanings::BEFORE, renamed::AFTER);
        assert_ne!(meanings::BEFORE, renumbered::AFTER);
    }

    mod state {
        values! {
            pub enum State {
                Idle = 0,
                Busy = 1,
            }
        }
    }

    mod swapped {
        values! {
            pub enum State {
                Idle = 1,
                Busy = 0,
            }
        }
    }

    #[test]
    fn a_value_with_another_number_is_another_layout() {
        assert_ne!(state::State::SHAPE, swapped::State::SHAPE);
        assert_eq!(state::State::Busy as u8 + swapped::State::Busy as u8, 1);
        assert_eq!(state::State::Idle as u8 + swapped::State::Idle as u8, 1);
    }
}
