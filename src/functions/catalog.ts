import type { Manifest } from './manifest.ts';

/** One line of `GET /functions`. */
export interface FunctionSummary {
  name: string;
  /** Current version; undefined while it was never called on this node. */
  version: string | undefined;
  environment: string | undefined;
  state: 'known' | 'preparing' | 'ready' | 'failed';
}

export interface FunctionVersionInfo {
  version: string;
  current: boolean;
  /** Unpacked bytes. */
  bytes: number;
  tag: string;
  imageBuilt: boolean;
}

/** What `GET /functions/F` tells. */
export interface FunctionDetail extends FunctionSummary {
  manifest: Manifest | undefined;
  versions: FunctionVersionInfo[];
  /** Why the newest object in the code source is not served, or why its calls are refused, if so. */
  problem: { code: string; message: string; details: Record<string, unknown> | undefined } | undefined;
}

/** What the HTTP layer needs of the functions on this node. */
export interface FunctionCatalog {
  /**
   * Names in alphabetical order after `after`, at most `limit` (1 to 1000). `next` is the `after` of the next page.
   * `only`: as if there were no others. The first page shows what the code source holds now, further ones what it held a
   * few seconds ago, changes by this node excepted.
   */
  list(options: { after?: string; limit: number; only?: ReadonlySet<string>; signal?: AbortSignal }): Promise<{
    functions: FunctionSummary[];
    next: string | undefined;
  }>;
  /** `function_not_found` when neither this node nor the code source has it. */
  inspect(name: string, options?: { signal?: AbortSignal }): Promise<FunctionDetail>;
  /**
   * Fetches and builds one function, or all of the source's listing, ahead of calls. Of all, those that fail do not
   * keep the others from being prepared; the error names them.
   */
  prepare(name: string | undefined, options?: { signal?: AbortSignal }): Promise<void>;
}
