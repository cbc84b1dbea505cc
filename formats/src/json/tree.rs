//! The tree of everything that the rows of a chunk hold, one node per path.
//!
//! Owns what Arrow's type inference and the search for mixed values need to know of a path, gathered in one pass without
//! keeping values (dataset-loading.md section 1.7). Bounded by [`limits::COLUMNS_MAX`] nodes.

use std::collections::HashMap;

use outpost_model::limits;

use super::lexer::SyntaxError;
use super::paths::{Path, Step, Trie};

/// Kinds of values, as bits.
pub(super) mod kind {
    pub(in super::super) const NULL: u8 = 1;
    pub(in super::super) const BOOL: u8 = 2;
    /// Within `int64`.
    pub(in super::super) const INT: u8 = 4;
    pub(in super::super) const FLOAT: u8 = 8;
    pub(in super::super) const STRING: u8 = 16;
    pub(in super::super) const OBJECT: u8 = 32;
    pub(in super::super) const ARRAY: u8 = 64;
    /// Anything at a path that becomes JSON text.
    pub(in super::super) const JSON: u8 = 128;
}

/// From here on members are found through a hash table.
const SCANNED_KEYS_MAX: usize = 16;

/// A node of the tree.
pub(super) type NodeId = u32;

/// The rows themselves.
pub(super) const ROOT: NodeId = 0;

/// What is known of the values at one path.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) kinds: u8,
    /// Whether some string is no timestamp.
    pub(super) has_plain_text: bool,
    /// Whether values become JSON text here.
    pub(super) is_json: bool,
    /// Members in order of appearance.
    pub(super) keys: Vec<(Box<[u8]>, NodeId)>,
    pub(super) item: Option<NodeId>,
    pub(super) keys_differ: bool,
    key_index: Option<HashMap<Box<[u8]>, u32>>,
    trie: Option<usize>,
    parent: NodeId,
    /// The position among the parent's members; `None` for its item.
    position: Option<u32>,
    objects: u64,
    first_keys: u32,
    in_first_object: bool,
    /// The last object that had this member.
    seen_in: u64,
}

impl Node {
    fn groups(&self) -> u32 {
        let numbers = self.kinds & (kind::INT | kind::FLOAT);
        let others = self.kinds & (kind::BOOL | kind::STRING | kind::OBJECT | kind::ARRAY);
        u32::from(numbers != 0) + others.count_ones()
    }

    /// Whether Arrow finds two types of values here.
    pub(super) fn changes_type(&self) -> bool {
        !self.is_json && self.groups() > 1
    }

    /// Whether the values are to become JSON text: objects of different keys, or objects or arrays beside others.
    pub(super) fn is_mixed(&self) -> bool {
        let has_containers = self.kinds & (kind::OBJECT | kind::ARRAY) != 0;
        if self.groups() > 1 {
            return has_containers;
        }
        self.kinds & kind::OBJECT != 0 && (self.keys_differ || self.first_keys == 0)
    }
}

/// An object that is being read.
pub(super) struct OpenObject {
    node: NodeId,
    serial: u64,
    is_first: bool,
    keys: u32,
    /// Where the next member is expected: objects tend to repeat their order.
    guess: usize,
}

/// A member was found twice in one object.
pub(super) struct Duplicate(pub(super) NodeId);

/// All paths of a chunk.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    trie: Trie,
    serial: u64,
}

impl Tree {
    pub(super) fn new(trie: Trie) -> Self {
        let root = Node { trie: Some(0), ..Node::default() };
        Self { nodes: vec![root], trie, serial: 0 }
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }

    pub(super) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id as usize]
    }

    pub(super) fn open_object(&mut self, id: NodeId) -> OpenObject {
        self.serial += 1;
        let node = &mut self.nodes[id as usize];
        node.objects += 1;
        OpenObject { node: id, serial: self.serial, is_first: node.objects == 1, keys: 0, guess: 0 }
    }

    /// The node of an object's member; `Err` inside `Ok` when the object had it before.
    pub(super) fn member(
        &mut self,
        object: &mut OpenObject,
        key: &[u8],
    ) -> Result<Result<NodeId, Duplicate>, SyntaxError> {
        let Some(position) = self.find_key(object.node, key, object.guess) else {
            let id = self.add_key(object.node, key, object.serial, object.is_first)?;
            let parent = self.node_mut(object.node);
            parent.keys_differ |= !object.is_first;
            object.guess = parent.keys.len();
            object.keys += 1;
            return Ok(Ok(id));
        };
        object.guess = position + 1;
        let id = self.node(object.node).keys[position].1;
        let member = self.node_mut(id);
        if member.seen_in == object.serial {
            return Ok(Err(Duplicate(id)));
        }
        member.seen_in = object.serial;
        let is_new_key = !member.in_first_object;
        object.keys += 1;
        self.node_mut(object.node).keys_differ |= is_new_key;
        Ok(Ok(id))
    }

    /// Ends an object; `adds_missing` puts the members on the way to a JSON path into it as nulls.
    pub(super) fn close_object(
        &mut self,
        object: &OpenObject,
        adds_missing: bool,
    ) -> Result<(), SyntaxError> {
        let node = self.node_mut(object.node);
        if object.is_first {
            node.first_keys = object.keys;
        } else {
            node.keys_differ |= object.keys != node.first_keys;
        }
        match node.trie {
            Some(trie) if adds_missing => self.add_missing(object, trie),
            _ => Ok(()),
        }
    }

    fn add_missing(&mut self, object: &OpenObject, trie: usize) -> Result<(), SyntaxError> {
        for index in 0..self.trie.keys(trie).len() {
            let key = self.trie.keys(trie)[index].0.clone();
            let id = match self.find_key(object.node, &key, object.guess) {
                Some(position) => self.node(object.node).keys[position].1,
                None => self.add_key(object.node, &key, object.serial, object.is_first)?,
            };
            let member = self.node_mut(id);
            if member.kinds == 0 {
                member.kinds = kind::NULL;
            }
        }
        Ok(())
    }

    /// The node of an array's items.
    pub(super) fn item(&mut self, id: NodeId) -> Result<NodeId, SyntaxError> {
        if let Some(item) = self.node(id).item {
            return Ok(item);
        }
        let trie = self.node(id).trie.and_then(|trie| self.trie.item(trie));
        let item = self.add(Node { parent: id, trie, ..Node::default() })?;
        self.node_mut(id).item = Some(item);
        Ok(item)
    }

    fn find_key(&self, id: NodeId, key: &[u8], guess: usize) -> Option<usize> {
        let node = self.node(id);
        if node.keys.get(guess).is_some_and(|(known, _)| **known == *key) {
            return Some(guess);
        }
        match &node.key_index {
            Some(index) => index.get(key).map(|position| *position as usize),
            None => node.keys.iter().position(|(known, _)| **known == *key),
        }
    }

    fn add_key(
        &mut self,
        parent: NodeId,
        key: &[u8],
        serial: u64,
        in_first_object: bool,
    ) -> Result<NodeId, SyntaxError> {
        let position = self.node(parent).keys.len() as u32;
        let trie = self.node(parent).trie.and_then(|trie| self.trie.key(trie, key));
        let node = Node {
            parent,
            position: Some(position),
            trie,
            in_first_object,
            seen_in: serial,
            ..Node::default()
        };
        let id = self.add(node)?;
        let parent = self.node_mut(parent);
        parent.keys.push((key.into(), id));
        match &mut parent.key_index {
            Some(index) => {
                index.insert(key.into(), position);
            }
            None if parent.keys.len() > SCANNED_KEYS_MAX => {
                let keys = parent.keys.iter().enumerate();
                parent.key_index = Some(keys.map(|(at, (key, _))| (key.clone(), at as u32)).collect());
            }
            None => {}
        }
        Ok(id)
    }

    fn add(&mut self, mut node: Node) -> Result<NodeId, SyntaxError> {
        if self.nodes.len() > limits::COLUMNS_MAX {
            return Err(SyntaxError::limit(format!(
                "The JSON objects have more than {} different members; \
                 use a list of key and value instead of members whose names are data.",
                limits::COLUMNS_MAX
            )));
        }
        node.is_json = node.trie.is_some_and(|trie| self.trie.is_json(trie));
        let id = self.nodes.len() as NodeId;
        self.nodes.push(node);
        Ok(id)
    }

    /// The topmost paths below the rows for which `is_wanted` holds.
    pub(super) fn topmost(&self, is_wanted: fn(&Node) -> bool) -> Vec<Path> {
        let mut found = Vec::new();
        let mut pending = vec![ROOT];
        while let Some(id) = pending.pop() {
            let node = self.node(id);
            if id != ROOT && is_wanted(node) {
                found.push(self.path(id));
                continue;
            }
            pending.extend(node.item);
            pending.extend(node.keys.iter().rev().map(|(_, child)| *child));
        }
        found
    }

    fn path(&self, mut id: NodeId) -> Path {
        let mut path = Vec::new();
        while id != ROOT {
            let node = self.node(id);
            path.push(match node.position {
                Some(position) => Step::Key(self.node(node.parent).keys[position as usize].0.clone()),
                None => Step::Item,
            });
            id = node.parent;
        }
        path.reverse();
        path
    }

    /// A path as Arrow spells it: `/a/[]/b`, empty for the rows.
    pub(super) fn path_text(&self, id: NodeId) -> String {
        self.path(id)
            .iter()
            .map(|step| match step {
                Step::Key(key) => format!("/{}", String::from_utf8_lossy(key)),
                Step::Item => "/[]".to_owned(),
            })
            .collect()
    }
}
