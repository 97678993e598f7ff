//! UYFM datagrams: requests, responses, entries, reassembly (SXS-08 section 8).
