//! Rows that copies of the cluster share until one of them changes a row.

use std::{
    collections::{BTreeMap, btree_map},
    fmt,
    iter::Map,
    sync::Arc,
};

/// Rows by key. A copy costs a pointer for each; what it changes is its own from then on.
#[derive(Clone, PartialEq, Eq)]
pub struct Table<K, V>(BTreeMap<K, Arc<V>>);

/// The rows of a table in the order of their keys.
pub type Rows<'a, K, V> = Map<btree_map::Values<'a, K, Arc<V>>, fn(&'a Arc<V>) -> &'a V>;

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Table<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> Table<K, V> {
    /// Without rows.
    pub(super) const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys, in order.
    pub fn keys(&self) -> btree_map::Keys<'_, K, Arc<V>> {
        self.0.keys()
    }

    /// The rows with their keys, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, row)| (key, row.as_ref()))
    }

    /// The rows, in the order of their keys.
    pub fn values(&self) -> Rows<'_, K, V> {
        self.0.values().map(Arc::as_ref)
    }
}

impl<K: Ord, V> Table<K, V> {
    /// The row of that key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.0.get(key).map(Arc::as_ref)
    }

    /// Whether there is a row of that key.
    pub fn contains_key(&self, key: &K) -> bool {
        self.0.contains_key(key)
    }

    /// Answers the row that had the key before.
    pub(super) fn insert(&mut self, key: K, row: V) -> Option<Arc<V>> {
        self.0.insert(key, Arc::new(row))
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<Arc<V>> {
        self.0.remove(key)
    }
}

impl<K: Ord, V: Clone> Table<K, V> {
    /// To write; a row that copies share is copied first.
    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.0.get_mut(key).map(Arc::make_mut)
    }

    /// To write; made first when there is none.
    pub(super) fn get_or_insert(&mut self, key: K, row: impl FnOnce() -> V) -> &mut V {
        Arc::make_mut(self.0.entry(key).or_insert_with(|| Arc::new(row())))
    }

    /// To write to all of them.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.0.values_mut().map(Arc::make_mut)
    }
}
