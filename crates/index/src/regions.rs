use geodesy::Tile;
use model::Position;

/// Which leaf a place belongs to: the earth, cut in two again and again where units are many. The writer's own.
#[derive(Debug)]
pub(crate) struct Regions {
    nodes: Vec<Node>,
    /// Nodes that a merge left over.
    free: Vec<u32>,
}

#[derive(Debug, Clone, Copy)]
enum Node {
    Cut { cut: Cut, low: u32, high: u32, parent: u32 },
    Leaf { leaf: u32, parent: u32 },
}

/// Stands for the parent of the root.
const ROOTLESS: u32 = u32::MAX;

/// Where a region is cut: places below it go to one side, all others to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    Lat(i32),
    Lon(i32),
}

impl Cut {
    #[inline]
    pub(crate) const fn is_low(self, position: Position) -> bool {
        match self {
            Self::Lat(at) => position.lat_e7() < at,
            Self::Lon(at) => position.lon_e7() < at,
        }
    }

    /// The two parts of `region`.
    pub(crate) const fn parts(self, region: Tile) -> (Tile, Tile) {
        match self {
            Self::Lat(at) => (Tile { north: at - 1, ..region }, Tile { south: at, ..region }),
            Self::Lon(at) => (Tile { east: at - 1, ..region }, Tile { west: at, ..region }),
        }
    }

    /// The cut that halves `positions` across the longer side of their tile; `None` when all stand on one spot.
    pub(crate) fn halving(positions: &mut [Position]) -> Option<Self> {
        let tile = positions.iter().copied().map(Tile::of).reduce(Tile::joined)?;
        let height = i64::from(tile.north) - i64::from(tile.south);
        let narrowing = (f64::from(tile.south) / 1e7).to_radians().cos().max(0.01);
        let width = ((i64::from(tile.east) - i64::from(tile.west)) as f64 * narrowing) as i64;
        let by = |of: fn(&Position) -> i32, positions: &mut [Position]| {
            positions.sort_unstable_by_key(of);
            let middle = of(&positions[positions.len() / 2]);
            // The first that is greater, where the median is also the least.
            let least = of(&positions[0]);
            if middle > least { Some(middle) } else { positions.iter().map(of).find(|value| *value > least) }
        };
        let lat = |positions: &mut [Position]| by(|at| at.lat_e7(), positions).map(Self::Lat);
        let lon = |positions: &mut [Position]| by(|at| at.lon_e7(), positions).map(Self::Lon);
        if height >= width {
            lat(positions).or_else(|| lon(positions))
        } else {
            lon(positions).or_else(|| lat(positions))
        }
    }
}

impl Regions {
    /// One leaf, number 0, that has all of the earth; it is node 0.
    pub(crate) fn new() -> Self {
        Self { nodes: vec![Node::Leaf { leaf: 0, parent: ROOTLESS }], free: Vec::new() }
    }

    /// The leaf of a place.
    pub(crate) fn locate(&self, position: Position) -> u32 {
        let mut node = 0;
        loop {
            match self.nodes[node as usize] {
                Node::Cut { cut, low, high, .. } => node = if cut.is_low(position) { low } else { high },
                Node::Leaf { leaf, .. } => return leaf,
            }
        }
    }

    /// Cuts the leaf at `node` in two; gives the nodes of the lower and the higher part.
    pub(crate) fn split(&mut self, node: u32, cut: Cut, low: u32, high: u32) -> (u32, u32) {
        let Node::Leaf { parent, .. } = self.nodes[node as usize] else { unreachable!("only leaves are split") };
        let low = self.add(Node::Leaf { leaf: low, parent: node });
        let high = self.add(Node::Leaf { leaf: high, parent: node });
        self.nodes[node as usize] = Node::Cut { cut, low, high, parent };
        (low, high)
    }

    /// The two leaves below the parent of the leaf at `node`, and that parent; `None` when its sibling is cut.
    pub(crate) fn siblings(&self, node: u32) -> Option<(u32, u32, u32)> {
        let Node::Leaf { parent, .. } = self.nodes[node as usize] else { return None };
        let Node::Cut { low, high, .. } = self.nodes.get(parent as usize)? else { return None };
        match (self.nodes[*low as usize], self.nodes[*high as usize]) {
            (Node::Leaf { leaf: low, .. }, Node::Leaf { leaf: high, .. }) => Some((low, high, parent)),
            _ => None,
        }
    }

    /// Makes the two leaves below `parent` one again: the leaf `leaf`, at `parent`.
    pub(crate) fn merge(&mut self, parent: u32, leaf: u32) {
        let Node::Cut { low, high, parent: above, .. } = self.nodes[parent as usize] else {
            unreachable!("only cut nodes are merged")
        };
        self.free.extend([low, high]);
        self.nodes[parent as usize] = Node::Leaf { leaf, parent: above };
    }

    /// Gives the region of the leaf at `node`, which nobody needs any more, to its sibling, which is cut; `false` when it is
    /// the only leaf or has another leaf beside it.
    pub(crate) fn fold(&mut self, node: u32) -> bool {
        let Node::Leaf { parent, .. } = self.nodes[node as usize] else { return false };
        let Some(Node::Cut { low, high, parent: above, .. }) = self.nodes.get(parent as usize).copied() else {
            return false;
        };
        let sibling = if low == node { high } else { low };
        let Node::Cut { cut, low, high, .. } = self.nodes[sibling as usize] else { return false };
        self.nodes[parent as usize] = Node::Cut { cut, low, high, parent: above };
        for child in [low, high] {
            match &mut self.nodes[child as usize] {
                Node::Cut { parent: up, .. } | Node::Leaf { parent: up, .. } => *up = parent,
            }
        }
        self.free.extend([node, sibling]);
        true
    }

    /// Every leaf with its node and the region that the cuts above leave it.
    pub(crate) fn leaves(&self) -> Vec<(u32, u32, Tile)> {
        let (mut leaves, mut open) = (Vec::new(), vec![(0, Tile::EARTH)]);
        while let Some((node, region)) = open.pop() {
            match self.nodes[node as usize] {
                Node::Cut { cut, low, high, .. } => {
                    let parts = cut.parts(region);
                    open.extend([(low, parts.0), (high, parts.1)]);
                }
                Node::Leaf { leaf, .. } => leaves.push((leaf, node, region)),
            }
        }
        leaves
    }

    fn add(&mut self, node: Node) -> u32 {
        if let Some(at) = self.free.pop() {
            self.nodes[at as usize] = node;
            return at;
        }
        self.nodes.push(node);
        self.nodes.len() as u32 - 1
    }

    /// Bytes in use.
    pub(crate) fn bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<Node>() + self.free.capacity() * size_of::<u32>()
    }
}
