/** Ends the daemon as SIGTERM does, but its idle sandboxes stay for the next one (`worker-front stop --keep-sandboxes`). */
export const KEEP_SIGNAL = 'SIGUSR2';
