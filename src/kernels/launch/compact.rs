//! WGSL without comments and indentation, made by the compiler: a browser loads the crate over a network. Lines of the linker
//! (`//# …`) stay.

/// The number of bytes of [`bytes`].
pub(super) const fn length(source: &str) -> usize {
    let source = source.as_bytes();
    let (mut from, mut length) = (0, 0);
    while from < source.len() {
        let (start, end, next) = line(source, from);
        if start < end {
            length += end - start + 1;
        }
        from = next;
    }
    length
}

/// The lines of a source that have code, each cut to its code and ended by a line feed.
pub(super) const fn bytes<const N: usize>(source: &str) -> [u8; N] {
    let source = source.as_bytes();
    let (mut bytes, mut at, mut from) = ([0; N], 0, 0);
    while from < source.len() {
        let (mut start, end, next) = line(source, from);
        if start < end {
            while start < end {
                bytes[at] = source[start];
                (start, at) = (start + 1, at + 1);
            }
            bytes[at] = b'\n';
            at += 1;
        }
        from = next;
    }
    bytes
}

/// The text of [`bytes`].
pub(super) const fn text(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(_) => panic!("lines are cut at ASCII characters"),
    }
}

/// The first and the last byte of the code in the line that begins at `from`, and the begin of the next line.
const fn line(source: &[u8], from: usize) -> (usize, usize, usize) {
    let mut next = from;
    while next < source.len() && source[next] != b'\n' {
        next += 1;
    }
    let mut start = from;
    while start < next && source[start] == b' ' {
        start += 1;
    }
    let is_for_linker =
        next - start > 2 && source[start] == b'/' && source[start + 1] == b'/' && source[start + 2] == b'#';
    let mut end = if is_for_linker { next } else { start };
    while end < next && !(source[end] == b'/' && end + 1 < next && source[end + 1] == b'/') {
        end += 1;
    }
    while end > start && source[end - 1] == b' ' {
        end -= 1;
    }
    (start, end, if next < source.len() { next + 1 } else { next })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_indentation_go() {
        const SOURCE: &str = "// a\n//# import x\n\nfn f() { // b\n    return 1 / 2; \n}";
        const BYTES: [u8; length(SOURCE)] = bytes(SOURCE);
        assert_eq!(text(&BYTES), "//# import x\nfn f() {\nreturn 1 / 2;\n}\n");
    }
}
