/// Dense number of a unit: its place in every table. Given in the order of the journal, so that the same journal gives
/// the same numbers; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct UnitHandle(pub u32);

/// Dense number of a device, given as [`UnitHandle`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct DeviceHandle(pub u32);

/// Dense number of an organisation in one running server. Never leaves the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct OrganisationHandle(pub u32);

/// Dense number of a zone in one set of zones. Never leaves the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ZoneHandle(pub u32);
