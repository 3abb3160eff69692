//! A pointer of one word to bytes that tell their own length, or to a box.
//!
//! The standard library's boxed slice takes two words, and an enum of it and a box as well: eight
//! bytes more for every key. This is the only unsafe code of the keyspace; its reason is that
//! word, and all of it is in this file.
//!
//! **Invariants.** A pointer with its lowest bit clear came from `Box<[u8]>` of the length that
//! `F::length` reads from its first [`HEAD`] bytes, and these bytes never change that length
//! afterwards. One with the bit set came, without the bit, from `Box<F>`.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ptr::{self, NonNull};

/// Bytes that every packed entry has, from which its length is read.
pub const HEAD: usize = 4;
const BOXED: usize = 1;

/// What stands beside packed bytes, and how their length is told.
pub trait Beside {
    /// The length of the packed bytes that begin with these.
    fn length(head: [u8; HEAD]) -> usize;
}

pub struct Thin<F: Beside> {
    raw: NonNull<u8>,
    owns: PhantomData<Box<F>>,
}

// SAFETY: it owns what it points to, as a box does.
unsafe impl<F: Beside + Send> Send for Thin<F> {}
// SAFETY: a shared reference gives shared references only.
unsafe impl<F: Beside + Sync> Sync for Thin<F> {}

impl<F: Beside> Thin<F> {
    /// Takes bytes whose first [`HEAD`] ones tell their length.
    ///
    /// # Panics
    /// When they tell another one.
    pub fn packed(bytes: Box<[u8]>) -> Self {
        let head = bytes.first_chunk::<HEAD>().expect("an entry has its head");
        assert_eq!(F::length(*head), bytes.len(), "the head tells the length");
        Self::from_raw(NonNull::from(Box::leak(bytes)).cast())
    }

    pub fn boxed(value: Box<F>) -> Self {
        let raw = NonNull::from(Box::leak(value)).cast::<u8>();
        let mut thin = Self::from_raw(raw);
        thin.raw = thin.raw.map_addr(|address| address | BOXED);
        thin
    }

    fn from_raw(raw: NonNull<u8>) -> Self {
        // Every allocator in use aligns even single bytes to words.
        assert_eq!(raw.addr().get() & BOXED, 0, "the allocator aligns to words");
        Self { raw, owns: PhantomData }
    }

    #[inline]
    fn is_boxed(&self) -> bool {
        self.raw.addr().get() & BOXED != 0
    }

    fn boxed_ptr(&self) -> *mut F {
        self.raw.as_ptr().map_addr(|address| address & !BOXED).cast()
    }

    #[inline]
    fn packed_ptr(&self) -> *mut [u8] {
        // SAFETY: the bit is clear, so at least HEAD bytes are there and initialised.
        let head = unsafe { self.raw.cast::<[u8; HEAD]>().read_unaligned() };
        ptr::slice_from_raw_parts_mut(self.raw.as_ptr(), F::length(head))
    }

    #[inline]
    pub fn view(&self) -> Result<&[u8], &F> {
        if self.is_boxed() {
            // SAFETY: the bit is set, so it is a box's pointer, which lives as long as `self`.
            Err(unsafe { &*self.boxed_ptr() })
        } else {
            // SAFETY: by the invariant it is a boxed slice of this length.
            Ok(unsafe { &*self.packed_ptr() })
        }
    }

    /// As [`Self::view`], to change what lies there; never what the head tells of the length.
    #[inline]
    pub fn view_mut(&mut self) -> Result<&mut [u8], &mut F> {
        if self.is_boxed() {
            // SAFETY: as in `view`, and `self` is borrowed alone.
            Err(unsafe { &mut *self.boxed_ptr() })
        } else {
            // SAFETY: as in `view`, and `self` is borrowed alone.
            Ok(unsafe { &mut *self.packed_ptr() })
        }
    }

    /// Takes the box out; packed bytes stay what they are.
    pub fn into_boxed(self) -> Result<Box<F>, Self> {
        if !self.is_boxed() {
            return Err(self);
        }
        let raw = std::mem::ManuallyDrop::new(self).boxed_ptr();
        // SAFETY: it came from a box, and is not dropped a second time.
        Ok(unsafe { Box::from_raw(raw) })
    }
}

impl<F: Beside> Drop for Thin<F> {
    fn drop(&mut self) {
        if self.is_boxed() {
            // SAFETY: it came from a box and nobody else owns it.
            drop(unsafe { Box::from_raw(self.boxed_ptr()) });
        } else {
            // SAFETY: it came from a boxed slice of this length and nobody else owns it.
            drop(unsafe { Box::from_raw(self.packed_ptr()) });
        }
    }
}

impl<F: Beside + std::fmt::Debug> std::fmt::Debug for Thin<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.view().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Owner(Vec<u8>);

    impl Beside for Owner {
        fn length(head: [u8; HEAD]) -> usize {
            head[0] as usize
        }
    }

    #[test]
    fn both_kinds_are_read_changed_and_freed_once() {
        let mut packed: Thin<Owner> = Thin::packed([5, 1, 2, 3, 4].into());
        packed.view_mut().expect("bytes")[4] = 9;
        assert_eq!(packed.view(), Ok(&[5, 1, 2, 3, 9][..]));
        let packed = packed.into_boxed().expect_err("it holds no box");
        assert_eq!(packed.view(), Ok(&[5, 1, 2, 3, 9][..]));
        let mut boxed = Thin::boxed(Box::new(Owner(vec![1])));
        boxed.view_mut().expect_err("a box").0.push(2);
        assert_eq!(boxed.view(), Err(&Owner(vec![1, 2])));
        assert_eq!(*boxed.into_boxed().expect("a box"), Owner(vec![1, 2]));
        drop(Thin::boxed(Box::new(Owner(vec![3]))));
    }

    #[test]
    #[should_panic = "the head tells the length"]
    fn a_wrong_length_is_refused() {
        drop(Thin::<Owner>::packed([6, 1, 2, 3, 4].into()));
    }
}
