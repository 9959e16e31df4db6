/* Signals as flags: see signals.h. The handlers do only what is safe in a handler. */
#include "base/signals.h"

#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>

/* Any thread may ask. Without a lock, so a handler may set it, too. */
static atomic_int stop_signal;
_Static_assert(ATOMIC_INT_LOCK_FREE == 2, "a handler must not wait");

static volatile sig_atomic_t saves_wanted;
static sig_atomic_t saves_taken;

static void on_stop(int signal) {
    if (stop_signal) _exit(128 + signal); /* asked twice: leave at once */
    stop_signal = signal;
}

/* A hang-up is nobody's impatience: the system and the shell both send one. */
static void on_hang_up(int signal) {
    if (!stop_signal) stop_signal = signal;
}

static void on_save(int signal) {
    (void)signal;
    saves_wanted = saves_wanted + 1;
}

static void handle(int signal, void (*handler)(int)) {
    struct sigaction a = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigemptyset(&a.sa_mask);
    /* The ways of stopping block each other, so that the second one sees the flag of the first. */
    sigaddset(&a.sa_mask, SIGINT);
    sigaddset(&a.sa_mask, SIGTERM);
    sigaddset(&a.sa_mask, SIGHUP);
    sigaction(signal, &a, NULL);
}

void signals_ignore_pipe(void) {
    handle(SIGPIPE, SIG_IGN);
    handle(SIGXFSZ, SIG_IGN); /* a file size limit is an error of the write, too */
}

/* nohup has it ignored: the program is to outlive its terminal. */
static bool is_ignored(int signal) {
    struct sigaction now;
    return sigaction(signal, NULL, &now) == 0 && now.sa_handler == SIG_IGN;
}

void signals_install(void) {
    signals_ignore_pipe();
    if (!is_ignored(SIGHUP)) handle(SIGHUP, on_hang_up);
    handle(SIGINT, on_stop);
    handle(SIGTERM, on_stop);
    handle(SIGUSR1, on_save);
}

int signals_stop(void) {
    return stop_signal;
}

bool signals_take_save(void) {
    if (saves_taken == saves_wanted) return false;
    saves_taken = saves_wanted; /* one that comes now may be answered with these, or later */
    return true;
}
