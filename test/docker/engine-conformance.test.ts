import { describeEngine } from '../conformance/engine.ts';
import { dockerHarness } from './engine-harness.ts';

describeEngine('the Docker engine', dockerHarness);
