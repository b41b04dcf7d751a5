//! Every parser of a file that somebody else wrote, on files that were damaged at random: none panics, goes on without
//! end, or allocates more than a small multiple of the file's size. All of them take about a minute of one processor;
//! `FUZZ_INPUTS=1000000` runs that many per parser, and `FUZZ_SEED` begins elsewhere.

mod harness;
mod memory;
mod mutation;
mod parsers;
