//! The program as a process: keys, addresses, HTTP, and what no client would send.
