//! What somebody probably meant: the word that a misspelt one is nearest to.

/// Longer words are not compared: the work grows with the square of their length.
const LONGEST: usize = 128;

/// The candidate that `found` is a slip of the finger away from, if there is one: a third of its letters at most.
pub fn meant<'a>(found: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if found.is_empty() || found.len() > LONGEST {
        return None;
    }
    let lower = |text: &str| -> Vec<char> { text.chars().flat_map(char::to_lowercase).collect() };
    let typed = lower(found);
    let most = (typed.len() / 3).max(1);
    let near = candidates.into_iter().filter(|candidate| candidate.len() <= LONGEST && *candidate != found);
    let near = near.map(|candidate| (distance(&typed, &lower(candidate)), candidate));
    // Of equals the first by name, so that the answer is always the same one.
    near.filter(|(distance, _)| *distance <= most).min().map(|(_, candidate)| candidate)
}

/// How many letters must be put in, left out, exchanged or swapped with their neighbour.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut rows: [Vec<usize>; 3] = [Vec::new(), Vec::new(), (0..=b.len()).collect()];
    for (i, &from) in a.iter().enumerate() {
        rows.rotate_left(1);
        let [before, above, row] = &mut rows;
        row.clear();
        row.push(i + 1);
        for (j, &to) in b.iter().enumerate() {
            let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX / 2);
            let exchange = at(above, j) + usize::from(from != to);
            let mut least = exchange.min(at(above, j + 1) + 1).min(at(row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(&to) && b.get(j - 1) == Some(&from);
            if swapped {
                least = least.min(at(before, j - 1) + 1);
            }
            row.push(least);
        }
    }
    rows[2].last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_understood_and_another_word_is_not() {
        let cases = [
            ("atested", "attested"),
            ("Attested", "attested"),
            ("declard", "declared"),
            ("singed", "signed"),
            ("relaese", "release"),
            ("groupss", "groups"),
        ];
        let words = ["attested", "declared", "signed", "release", "groups"];
        for (found, expected) in cases {
            assert_eq!(meant(found, words), Some(expected), "{found}");
        }
        for other in ["", "x", "admins", "signed", "attestation-of-touch", &"signed".repeat(40)] {
            assert_ne!(meant(other, words), Some("signed"), "{other}");
        }
        assert_eq!(meant("ab", ["ad", "ac"]), Some("ac"));
    }

    #[test]
    fn the_distance_counts_letters() {
        for (a, b, expected) in [
            ("", "", 0),
            ("a", "", 1),
            ("", "abc", 3),
            ("ab", "ba", 1),
            ("kitten", "sitting", 3),
            ("é", "e", 1),
        ] {
            let chars = |text: &str| -> Vec<char> { text.chars().collect() };
            assert_eq!(distance(&chars(a), &chars(b)), expected, "{a} {b}");
            assert_eq!(distance(&chars(b), &chars(a)), expected, "{b} {a}");
        }
    }
}
