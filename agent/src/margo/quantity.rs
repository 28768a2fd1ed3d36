//! Sizes with binary units, as capabilities and constraints write them: `59 Gi`, `1024Mi`.

/// Reads a whole number with a binary unit, with or without a blank between them, into bytes.
pub(super) fn parse(text: &str) -> Option<u128> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let shift = match unit.trim_start() {
        "Ki" => 10,
        "Mi" => 20,
        "Gi" => 30,
        "Ti" => 40,
        "Pi" => 50,
        "Ei" => 60,
        _ => return None,
    };
    // 2^60 and u64 fit into u128 with room to spare.
    number.parse::<u64>().ok().map(|number| u128::from(number) << shift)
}

/// Writes bytes rounded down, in the largest of `Ki`, `Mi`, `Gi` that loses nothing, or else in `Mi`.
pub(super) fn format(size_bytes: u64) -> String {
    let (gi, mi, ki) = (size_bytes >> 30, size_bytes >> 20, size_bytes >> 10);
    if gi > 0 && gi << 30 == size_bytes {
        format!("{gi}Gi")
    } else if mi > 0 {
        format!("{mi}Mi")
    } else {
        format!("{ki}Ki")
    }
}
