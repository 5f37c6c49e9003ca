const MIB = 1024 * 1024;

/** What of a tree is copied for one call; more is refused before anything runs. */
export const COPIED_ENTRIES_MAX = 100_000;
export const COPIED_BYTES_MAX: number = 2048 * MIB;
export const COPIED_DEPTH_MAX = 64;
/** What one call may change; more is refused as a whole. */
export const CHANGES_MAX = 10_000;
export const CHANGED_BYTES_MAX: number = 512 * MIB;
/** Entries after which the thread is given to others. */
export const ENTRIES_PER_TURN = 64;
