//! Certificates over real sockets. A file that changes is looked at by hand: nothing waits for the watch.

mod authority;
mod doors;
mod rotation;
