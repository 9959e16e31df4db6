/* Signals as flags. The first SIGINT, SIGTERM or SIGHUP (the terminal has gone; not under nohup)
 * asks the program to finish its step and save; a second SIGINT or SIGTERM leaves at once with 130
 * or 143; SIGUSR1 asks for a save; SIGPIPE is ignored, so that a closed pipe is ERR_PIPE from the
 * write. The flags are the one thing in base/ that is process-wide, because signals are. */
#ifndef LORY_BASE_SIGNALS_H
#define LORY_BASE_SIGNALS_H

#include <stdbool.h>

/* Installs the handlers; called once by a program that wants them. */
void signals_install(void);
/* Only SIGPIPE: for programs that have nothing to save. */
void signals_ignore_pipe(void);
/* The signal that asked to stop (SIGINT, SIGTERM, SIGHUP), or 0. */
int signals_stop(void);
/* Whether a SIGUSR1 came since the last time; many are one wish. */
bool signals_take_save(void);

#endif
