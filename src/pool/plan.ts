import type { LoadRequest } from '../channel/messages.ts';
import type { ResourceLimits } from '../containers/spec.ts';
import type { Hidden } from '../lib/hidden.ts';
import type { CodeLayer } from './function-folder.ts';

/** The name of a container network, or `none`. */
export type NetworkKind = 'outbound' | 'public' | 'none';

/** Everything that decides how the container of a sandbox is made before a function is loaded into it. */
export interface ContainerPlan {
  /** Real environment name, for example `python3.11`. */
  environment: string;
  limits: ResourceLimits;
  tmpBytes: number;
  network: NetworkKind;
  runtime: string | undefined;
}

/** How sandboxes of one version under the present settings are made and used. */
export interface SandboxPlan extends ContainerPlan {
  /** Sandboxes of equal keys are interchangeable. Has a keyed digest of the secrets, so that changed ones give new sandboxes. */
  key: string;
  /** `name@version` */
  versionKey: string;
  functionName: string;
  version: string;
  /** Folder of the version's unpacked code on the host. */
  codeDir: string;
  /** The manifest named an alias: binary packages of the bundle were made for another version of the language. */
  aliased: boolean;
  maxSandboxes: number;
  prewarm: number;
  initTimeoutMs: number;
  load: LoadRequest;
  /** Secrets by environment variable, which join `load` on its way into the sandbox and are nowhere else. */
  secrets?: Hidden<Readonly<Record<string, string>>>;
}

/** What sandboxes of a plan can be made from. */
export interface Startable {
  /** As in `Meta.ImageName`. */
  imageName: string;
  /** Function image, full name with tag; undefined while there is none. */
  image: string | undefined;
  /** Folders to put into a stem sandbox; undefined: only the image will do. At least one of both is there. */
  layers: readonly CodeLayer[] | undefined;
  /** True when an image was built before the answer. */
  built: boolean;
  /** What the caller waited for the build, in fractional milliseconds. */
  buildMs: number;
}
