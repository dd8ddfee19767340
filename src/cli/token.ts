import Table from 'cli-table3';
import { WorkerFrontError } from '../lib/errors.ts';
import { ROLES, type Role } from '../tokens/caller.ts';
import { newSecret } from '../tokens/secret.ts';
import { changeTokens, readTokens, TOKEN_NAME } from '../tokens/token-file.ts';

export interface TokenOptions {
  /** The file with the tokens. */
  file: string;
  /** Standard output: the result alone, so that programs can read it. */
  print: (line: string) => void;
  /** Standard error: for people. */
  note: (line: string) => void;
}

const FOLLOWS = 'a running daemon follows within a second';

/** Makes a token and prints it, this once. Rejects with `conflict` when there is one of this name. */
export async function addToken(
  name: string,
  given: { role: string[]; function: string[] },
  { file, print, note }: TokenOptions,
): Promise<void> {
  if (!TOKEN_NAME.test(name)) throw invalid(`'${name}' is no name: 1 to 64 of the characters A-Z a-z 0-9 . _ @ -`);
  const roles = [...new Set(given.role.map(roleOf))];
  const functions = [...new Set(given.function)];
  for (const one of functions) {
    if (!/^[A-Za-z0-9_-]{1,64}$/.test(one)) throw invalid(`--function: '${one}' is no name of a function`);
  }
  const { token, id, digest } = newSecret();
  const isFirst = await changeTokens(file, (tokens) => {
    if (tokens.some((known) => known.name === name)) {
      throw new WorkerFrontError('conflict', `there is a token '${name}' already; revoke it, or take another name`);
    }
    const record = {
      name,
      id,
      sha256: digest.toString('hex'),
      roles,
      ...(functions.length > 0 && { functions }),
      // oxlint-disable-next-line no-restricted-globals -- for people
      created: new Date().toISOString(),
    };
    return { tokens: [...tokens, record], result: tokens.length === 0 };
  });
  print(token);
  note(`this is the only time that the token '${name}' is shown; ${FOLLOWS}`);
  if (isFirst) note('from this first token on, the node asks every caller for one');
}

/** Lists the tokens without what they are: that is kept nowhere. */
export function listTokens({ json }: { json: boolean }, { file, print }: TokenOptions): void {
  const tokens = (readTokens(file) ?? []).map(({ name, id, roles, functions, created }) => ({
    Name: name,
    Id: id,
    Roles: roles,
    Functions: functions ?? null,
    Created: created,
  }));
  if (json) {
    print(JSON.stringify({ Tokens: tokens }));
    return;
  }
  const table = new Table({ head: ['name', 'id', 'roles', 'functions', 'created'], style: { head: [], border: [] } });
  for (const { Name, Id, Roles, Functions, Created } of tokens) {
    table.push([Name, Id, Roles.join(', '), Functions?.join(', ') ?? 'all', Created]);
  }
  print(table.toString());
}

/** Revokes a token by its name or id. */
export async function revokeToken(nameOrId: string, { file, print, note }: TokenOptions): Promise<void> {
  const left = await changeTokens(file, (tokens) => {
    const isMeant = ({ name, id }: { name: string; id: string }) => name === nameOrId || id === nameOrId;
    const rest = tokens.filter((token) => !isMeant(token));
    if (rest.length === tokens.length) throw invalid(`there is no token '${nameOrId}'; see 'worker-front token list'`);
    return { tokens: rest, result: rest.length };
  });
  print(`token '${nameOrId}' is revoked`);
  note(FOLLOWS);
  if (left === 0) note(`no token is left: the node goes on asking for one; to open it, delete '${file}' and restart`);
}

function roleOf(text: string): Role {
  const role = ROLES.find((known) => known === text);
  if (role === undefined) throw invalid(`--role: '${text}' must be one of ${ROLES.join(', ')}`);
  return role;
}

function invalid(message: string): WorkerFrontError {
  return new WorkerFrontError('invalid_request', message);
}
