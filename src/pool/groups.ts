import { SandboxGroup } from './group.ts';
import type { GroupContext } from './group-context.ts';
import type { SandboxPlan } from './plan.ts';

/** A group without sandboxes is forgotten after this, in milliseconds: its demand does not count any more. */
const FORGET_MS = 120_000;

/** The groups of a node: one for each plan that is called, and those of old plans until their last call has ended. */
export class Groups {
  readonly #context: GroupContext;
  readonly #created: () => void;
  /** Newest group of each key; older, retired ones of the same key live in `#retired`. */
  readonly #current = new Map<string, SandboxGroup>();
  readonly #retired = new Set<SandboxGroup>();

  /** `created` is told of each new group. */
  constructor(context: GroupContext, created: () => void) {
    this.#context = context;
    this.#created = created;
  }

  /** The group of the plan. On the path of every call. */
  of(plan: SandboxPlan): SandboxGroup {
    const known = this.#current.get(plan.key);
    if (known) return known;
    const group = new SandboxGroup(plan, this.#context);
    this.#current.set(plan.key, group);
    this.#created();
    return group;
  }

  /** Those that get calls. */
  current(): Iterable<SandboxGroup> {
    return this.#current.values();
  }

  /** Also those that get no calls any more, while something of them lives. */
  *all(): Iterable<SandboxGroup> {
    yield* this.#current.values();
    yield* this.#retired;
  }

  *ofVersion(versionKey: string): Iterable<SandboxGroup> {
    for (const group of this.all()) if (group.plan.versionKey === versionKey) yield group;
  }

  /** Those whose plan is `unwanted` get no new calls: idle sandboxes go now, busy ones after their last call. */
  retire(unwanted: (plan: SandboxPlan) => boolean): void {
    for (const [key, group] of this.#current) {
      if (!unwanted(group.plan)) continue;
      this.#current.delete(key);
      group.retire();
      if (!group.isEmpty) this.#retired.add(group);
    }
  }

  /** Forgets those that have nothing any more. */
  forgetEmpty(now: number): void {
    for (const group of this.#retired) if (group.isEmpty) this.#retired.delete(group);
    for (const [key, group] of this.#current) {
      if (group.isEmpty && group.target === 0 && now - group.lastUsed > FORGET_MS) this.#current.delete(key);
    }
  }

  clear(): void {
    this.#current.clear();
    this.#retired.clear();
  }
}
