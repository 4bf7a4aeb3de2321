use store::Store;

use super::at;

#[test]
fn a_secret_is_made_once_and_outlives_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let first = {
        let store = Store::open(folder.path()).unwrap();
        let first = store.secret("jt808", at(0)).unwrap();
        assert_eq!(store.secret("jt808", at(1)).unwrap(), first);
        assert_ne!(store.secret("other", at(1)).unwrap(), first);
        first
    };
    assert_eq!(Store::open(folder.path()).unwrap().secret("jt808", at(2)).unwrap(), first);
    assert_ne!(Store::in_memory().unwrap().secret("jt808", at(2)).unwrap(), first, "each store has its own");
}
