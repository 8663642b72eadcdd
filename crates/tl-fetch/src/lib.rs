//! Bytes from elsewhere: HTTP with resume and sha256, Python packages by name, zip extraction.
