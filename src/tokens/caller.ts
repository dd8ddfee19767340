/** What a token may be good for. `admin` includes the others. */
export const ROLES = ['invoke', 'read', 'admin'] as const;
export type Role = (typeof ROLES)[number];

/** Who sends a request, and what that one may do. */
export interface Caller {
  /** Name of the token, for the log; `anonymous` where no token is asked for. */
  readonly name: string;
  readonly roles: ReadonlySet<Role>;
  /** The only functions that the caller may use and see; undefined: all. */
  readonly functions: ReadonlySet<string> | undefined;
}

const ALL: ReadonlySet<Role> = new Set(ROLES);

/** Whoever reaches a node that asks for no token. */
export const ANONYMOUS: Caller = { name: 'anonymous', roles: ALL, functions: undefined };

/** A caller with these roles; `admin` brings the others along. */
export function callerOf(name: string, roles: readonly Role[], functions?: readonly string[]): Caller {
  return {
    name,
    roles: roles.includes('admin') ? ALL : new Set(roles),
    functions: functions === undefined ? undefined : new Set(functions),
  };
}

/** Whether the caller may use and see this function. */
export function maySee(caller: Caller, functionName: string): boolean {
  return caller.functions === undefined || caller.functions.has(functionName);
}
