#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "init.h"

static bool is_dots(const char *name) { return name[0] == '.' && (name[1] == 0 || (name[1] == '.' && name[2] == 0)); }

static DIR *open_folder(int at, const char *name) {
  int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0 && errno == EACCES && fchmodat(at, name, 0700, 0) == 0)
    fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return NULL;
  if (!is_dots(name)) fchmod(fd, 0700);
  DIR *folder = fdopendir(fd);
  if (folder == NULL) close(fd);
  return folder;
}

/* Moves the folders inside `name` up to the root and deletes its files: no recursion, however deep they are. */
static void flatten(int root, const char *name, unsigned long *counter) {
  DIR *folder = open_folder(root, name);
  if (folder == NULL) return;
  struct dirent *entry;
  while ((entry = readdir(folder)) != NULL) {
    if (is_dots(entry->d_name)) continue;
    if (unlinkat(dirfd(folder), entry->d_name, 0) == 0) continue;
    if (unlinkat(dirfd(folder), entry->d_name, AT_REMOVEDIR) == 0) continue;
    char to[48];
    do snprintf(to, sizeof to, ".left-over-%lu", (*counter)++);
    while (faccessat(root, to, F_OK, AT_SYMLINK_NOFOLLOW) == 0);
    /* A folder can be moved only when it can be written to. */
    fchmodat(dirfd(folder), entry->d_name, 0700, 0);
    renameat(dirfd(folder), entry->d_name, root, to);
  }
  closedir(folder);
  unlinkat(root, name, AT_REMOVEDIR);
}

/* One look at an open folder. False when it is not sure. */
static bool is_empty(int folder) {
  static _Alignas(8) char entries[1024];
  if (lseek(folder, 0, SEEK_SET) != 0) return false;
  long got = syscall(SYS_getdents64, folder, entries, sizeof entries);
  for (long at = 0; at < got;) {
    const struct dirent64 *entry = (const struct dirent64 *)(entries + at);
    if (!is_dots(entry->d_name)) return false;
    at += entry->d_reclen;
  }
  /* More than the two that every folder has did not come. */
  return got > 0;
}

static void empty_folder(int root) {
  unsigned long counter = 0;
  if (root < 0 || is_empty(root)) return;
  /* Each round deletes the files of one level; a round that deletes nothing is the last. */
  for (bool progress = true; progress;) {
    progress = false;
    DIR *folder = open_folder(root, ".");
    if (folder == NULL) break;
    struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
      if (is_dots(entry->d_name)) continue;
      if (unlinkat(root, entry->d_name, 0) == 0 || unlinkat(root, entry->d_name, AT_REMOVEDIR) == 0) {
        progress = true;
        continue;
      }
      flatten(root, entry->d_name, &counter);
      if (faccessat(root, entry->d_name, F_OK, AT_SYMLINK_NOFOLLOW) != 0) progress = true;
    }
    closedir(folder);
  }
}

static void remove_ipc(void) {
  struct shm_info shm;
  struct shmid_ds segment;
  int last = shmctl(0, SHM_INFO, (struct shmid_ds *)&shm);
  for (int i = 0; i <= last && shm.used_ids > 0; i++) {
    int id = shmctl(i, SHM_STAT, &segment);
    if (id >= 0) shmctl(id, IPC_RMID, NULL);
  }
  struct seminfo sem;
  struct semid_ds set;
  last = semctl(0, 0, SEM_INFO, &sem);
  for (int i = 0; i <= last && sem.semusz > 0; i++) {
    int id = semctl(i, 0, SEM_STAT, &set);
    if (id >= 0) semctl(id, 0, IPC_RMID);
  }
  struct msginfo msg;
  struct msqid_ds queue;
  last = msgctl(0, MSG_INFO, (struct msqid_ds *)&msg);
  for (int i = 0; i <= last && msg.msgpool > 0; i++) {
    int id = msgctl(i, MSG_STAT, &queue);
    if (id >= 0) msgctl(id, IPC_RMID, NULL);
  }
}

void clean_left_overs(void) {
  static const char *const paths[] = {"/tmp", "/dev/shm", "/dev/mqueue"};
  static int folders[] = {-1, -1, -1};
  if (!sandbox.process_one) {
    if (sandbox.tmp == NULL) return;
    int tmp = open(sandbox.tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    empty_folder(tmp);
    if (tmp >= 0) close(tmp);
    return;
  }
  for (int i = 0; i < 3; i++) {
    /* Mounts: they stay the same folders as long as the sandbox lives. */
    if (folders[i] < 0) folders[i] = open(i == 0 ? sandbox.tmp : paths[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    empty_folder(folders[i]);
  }
  remove_ipc();
}
