/**
 * The first `limit` names after `after`, of both lists together, each once and in order; `only`: of those in it. `more`:
 * there are others behind them. `sorted` is sorted; `others` is in any order. What it costs follows the page and the number
 * of `others`, not that of all names.
 */
export function nextNames(
  sorted: readonly string[],
  others: readonly string[],
  { after, limit, only }: { after: string; limit: number; only?: ReadonlySet<string> | undefined },
): { names: string[]; more: boolean } {
  const isWanted = (name: string) => only === undefined || only.has(name);
  const names: string[] = [];
  for (let at = firstAfter(sorted, after); at < sorted.length && names.length <= limit; at += 1) {
    const name = sorted[at]!;
    if (isWanted(name)) names.push(name);
  }
  const known = new Set(names);
  // Behind a page that is full already they do not matter: few are left to be sorted.
  const last = names.length > limit ? names.at(-1) : undefined;
  const before = (name: string) => last === undefined || name < last;
  const added = others.filter((name) => name > after && before(name) && !known.has(name) && isWanted(name));
  const all = added.length > 0 ? [...names, ...added].sort() : names;
  return { names: all.slice(0, limit), more: all.length > limit };
}

/** Index of the first name that comes after `after`. */
function firstAfter(sorted: readonly string[], after: string): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle]! > after) high = middle;
    else low = middle + 1;
  }
  return low;
}
