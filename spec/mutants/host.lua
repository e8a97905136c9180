-- host.lua: bugs about the process that dsync lives in: forks, descriptors, signals.
return {
  {
    name = "fork_unseen", rule = "a child's handles are dead", breaks = "they work as the parent's",
    file = "client/client.c", from = "client->pid == ds_process()", to = "true", by = "test_client",
  },
  {
    name = "fork_cached", rule = "a fork is detected by pid", breaks = "the pid is remembered across it",
    file = "base/process.c", from = "madvise(page, size, MADV_WIPEONFORK) != 0", to = "false", by = "test_client",
  },
  {
    name = "socket_inherited", rule = "no descriptor survives exec", breaks = "connections do",
    file = "net/http_socket.c", from = "address->socktype | SOCK_CLOEXEC", to = "address->socktype", by = "test_http",
  },
  {
    name = "pair_inherited", rule = "no descriptor survives exec", breaks = "libcurl's wake-up pair does",
    file = "net/http_socket.c", from = "(void)fcntl(found.fds[i], F_SETFD, FD_CLOEXEC);", to = "", by = "test_http",
  },
  {
    name = "signals_taken", rule = "the I/O thread blocks all signals", breaks = "it blocks none",
    file = "net/loop.c", from = "(void)pthread_sigmask(SIG_SETMASK, &mask, before);",
    to = "(void)pthread_sigmask(SIG_SETMASK, NULL, before);", by = "test_loop_thread",
  },
}
