/** Who is in a room, as far as the program was told. */

/**
 * @typedef {{id: string, displayName: string, state?: string}} Member
 * @typedef {{members: Member[], count: number}} Present  everybody, oneself included, and how many; where there are more than
 *   the server lists, `members` is empty and `count` alone is known
 * @typedef {{join: Member[], leave: string[], count: number}} Change
 */

/** What is known of a room's members. It outlives connections, so that the program hears of what changed between two. */
export class View {
  #version = 0;
  /** @type {Map<string, Member>} */ #members = new Map();
  #count = 0;

  /** @returns {Present} */
  present() {
    return { members: [...this.#members.values()], count: this.#count };
  }

  /**
   * Takes what the server says of everybody, and answers how that differs from what was known.
   * @param {{version: number, members: Member[], count: number}} snapshot
   * @returns {Change}
   */
  renew({ version, members, count }) {
    this.#version = version;
    return this.#turnInto(new Map(members.map((member) => [member.id, member])), count);
  }

  /**
   * Takes a change; answers `null` if it tells nothing new, and `'hole'` if something before it was missed. One that is `whole`
   * tells everybody, in place of changes that were missed.
   * @param {{version: number, whole?: boolean, join: Member[], leave: string[], count: number}} change
   * @returns {Change|null|'hole'}
   */
  take({ version, whole, join, leave, count }) {
    if (whole) return this.renew({ version, members: join, count });
    if (version <= this.#version) return null;
    if (version > this.#version + 1) return 'hole';
    this.#version = version;
    const [members, before] = [new Map(this.#members), this.#count];
    for (const id of leave) members.delete(id);
    for (const member of join) members.set(member.id, member);
    const told = this.#turnInto(members, count);
    // Oneself is in the snapshot, and then in a change.
    return before !== count || told.join.length || told.leave.length ? told : null;
  }

  #turnInto(/** @type {Map<string, Member>} */ members, /** @type {number} */ count) {
    // There are more than are listed; whoever is left over of the list is no better known than the others.
    if (members.size !== count) members.clear();
    const isNew = (/** @type {Member} */ { id, displayName, state }) => {
      const known = this.#members.get(id);
      return known?.displayName !== displayName || known.state !== state;
    };
    const join = [...members.values()].filter(isNew);
    const leave = [...this.#members.keys()].filter((id) => !members.has(id));
    [this.#members, this.#count] = [members, count];
    return { join, leave, count };
  }
}
