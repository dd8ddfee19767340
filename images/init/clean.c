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

static void empty_folder(const char *path) {
  unsigned long counter = 0;
  int root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) return;
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
  close(root);
}

static void remove_ipc(void) {
  struct shm_info shm;
  struct shmid_ds segment;
  int last = shmctl(0, SHM_INFO, (struct shmid_ds *)&shm);
  for (int i = 0; i <= last; i++) {
    int id = shmctl(i, SHM_STAT, &segment);
    if (id >= 0) shmctl(id, IPC_RMID, NULL);
  }
  struct seminfo sem;
  struct semid_ds set;
  last = semctl(0, 0, SEM_INFO, &sem);
  for (int i = 0; i <= last; i++) {
    int id = semctl(i, 0, SEM_STAT, &set);
    if (id >= 0) semctl(id, 0, IPC_RMID);
  }
  struct msginfo msg;
  struct msqid_ds queue;
  last = msgctl(0, MSG_INFO, (struct msqid_ds *)&msg);
  for (int i = 0; i <= last; i++) {
    int id = msgctl(i, MSG_STAT, &queue);
    if (id >= 0) msgctl(id, IPC_RMID, NULL);
  }
}

void clean_left_overs(void) {
  if (sandbox.tmp != NULL) empty_folder(sandbox.tmp);
  if (!sandbox.process_one) return;
  empty_folder("/dev/shm");
  empty_folder("/dev/mqueue");
  remove_ipc();
}
