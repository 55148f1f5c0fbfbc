//! Which rules can cover a request: a walk along its segments, so that a thousand other rules cost nothing.

use std::collections::HashMap;

/// Things by patterns of segments.
#[derive(Debug)]
struct Tree<T> {
    /// The next segment is this one,
    literal: HashMap<String, Tree<T>>,
    /// or any.
    any: Option<Box<Tree<T>>>,
    /// Patterns that end here.
    here: Option<T>,
    /// Patterns that end here in `**`: they cover what lies below too.
    below: Option<T>,
}

impl<T> Default for Tree<T> {
    fn default() -> Self {
        Self { literal: HashMap::new(), any: None, here: None, below: None }
    }
}

impl<T: Default> Tree<T> {
    /// What stands under this pattern; `None` is `*`.
    fn under(&mut self, segments: &[Option<String>], open: bool) -> &mut T {
        let node = segments.iter().fold(self, |node, segment| match segment {
            None => node.any.get_or_insert_default(),
            Some(segment) => node.literal.entry(segment.clone()).or_default(),
        });
        if open { node.below.get_or_insert_default() } else { node.here.get_or_insert_default() }
    }

    /// Calls `found` with what stands under each pattern that matches. As deep as there are segments.
    fn matching<'a>(&'a self, path: &[&str], found: &mut dyn FnMut(&'a T)) {
        self.below.iter().for_each(&mut *found);
        match path.split_first() {
            None => self.here.iter().for_each(&mut *found),
            Some((segment, rest)) => {
                let literal = self.literal.get(*segment);
                for node in literal.into_iter().chain(self.any.as_deref()) {
                    node.matching(rest, found);
                }
            }
        }
    }
}

/// The rules of one mode, by action and then by resource.
#[derive(Debug, Default)]
pub(super) struct Index {
    actions: Tree<Tree<Vec<usize>>>,
}

/// Segments, `None` being `*`, and whether `**` follows them.
pub(super) type Segments<'a> = (&'a [Option<String>], bool);

impl Index {
    /// Adds the rule with this number.
    pub(super) fn add(&mut self, action: Segments<'_>, resource: Segments<'_>, number: usize) {
        self.actions.under(action.0, action.1).under(resource.0, resource.1).push(number);
    }

    /// The numbers of the rules whose patterns match both.
    pub(super) fn matching(&self, action: &str, resource: &str) -> Vec<usize> {
        let (action, resource): (Vec<&str>, Vec<&str>) =
            (action.split('/').collect(), resource.split('/').collect());
        let mut numbers = Vec::new();
        self.actions.matching(&action, &mut |resources| {
            resources.matching(&resource, &mut |found| numbers.extend_from_slice(found));
        });
        numbers
    }
}
