import { Networks } from '../network/networks.ts';
import { type Inhabitants, openings } from '../network/openings.ts';
import { helperShell, ownShell, type Shell } from '../network/shell.ts';
import { Walls, type Way } from '../network/walls.ts';
import { LABELS } from '../pool/labels.ts';
import { type Base, CLOSE_LIMIT_MS, leavesSandboxes } from './base.ts';

/** The start waits this long for the walls, in milliseconds; sandboxes wait until it is known whether they stand. */
const START_LIMIT_MS = 10_000;

/** Networks and the walls around them. `toolsImage` gives the name of an image with iptables. */
export function composeNetwork(base: Base, toolsImage: (signal: AbortSignal) => Promise<string>) {
  const { config, live, node, engine, clock, life, closing } = base;
  const logger = base.logger.child({ part: 'network' });
  const nodeLabels = { [LABELS.node]: node };
  const labels = { ...config.containerLabels, ...nodeLabels };
  /** The bridges of a rootless engine are in a network stack of its own, where this machine's services have another address. */
  const unlessRootless =
    (shell: Shell): Shell =>
    (script, signal) =>
      base.engineWatch.info?.rootless
        ? Promise.reject(new Error('the networks of a rootless engine are out of reach of firewall rules'))
        : shell(script, signal);
  const helper = helperShell(labels, { engine, image: toolsImage });
  const ways: Way[] = [
    { name: 'iptables here', shell: unlessRootless(ownShell), cheap: true },
    { name: "a container in the host's network", shell: unlessRootless(helper), cheap: false },
  ];
  const { allow, dns } = config.network;
  const walls = new Walls({ node, allow, dns, clock, logger, ways: config.network.walls ? ways : [] });
  const networks = new Networks({ node, nodeLabels, extraLabels: config.containerLabels, logger }, { engine, walls });
  // Sandboxes that are left stay behind their walls; where none is left (a start that was refused) there is nothing to leave.
  const inhabited = () =>
    engine.listContainers(nodeLabels).then(
      (all) => all.length > 0,
      () => true,
    );
  const close = async () => (leavesSandboxes(life) && (await inhabited()) ? networks.leave() : networks.close());
  closing('networks', close, 2 * CLOSE_LIMIT_MS);

  const inhabitants = (): Inhabitants => ({
    functions: live.current.functionNetwork !== 'none',
    builds: config.build.network === undefined,
  });
  return {
    networks,
    /** Network of image builds: as narrow as that of functions, but there always is one. */
    forBuilds: () => networks.nameOf(live.current.functionNetwork === 'outbound' ? 'build' : 'public-build'),
    /** What is open now, in sentences. */
    openings: () => openings(walls.state, inhabitants()),
    /** Puts the walls up. Never rejects; what takes long goes on behind. */
    async start(): Promise<void> {
      const network = live.current.functionNetwork;
      const { functions, builds } = inhabitants();
      if (!functions && !builds) return;
      const first = network === 'none' ? 'public-build' : network;
      const up = networks
        .nameOf(first)
        .catch((err: unknown) => logger.warn({ err }, 'the network can not be made yet'));
      const late = new Promise<void>((resolve) => clock.after(START_LIMIT_MS, resolve));
      await Promise.race([up, late]);
    },
  };
}
