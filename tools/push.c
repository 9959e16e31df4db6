/* Pushing in the background: see push.h. */
#include "tools/push.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "base/file.h"
#include "base/json.h"
#include "base/signals.h"
#include "stream/hub.h"
#include "train/checkpoint.h"

enum { LOOK_SECONDS = 1, FIRST_WAIT = 10, LONGEST_WAIT = 300, NICE = 10, SAID_BYTES = 16 << 10 };
#define STOP_SECONDS 60.0 /* what a signal leaves of the last wait */

extern char **environ;

struct pusher {
    struct pusher_opts o;
    char *program; /* lmhub */
    bool started;  /* there is a thread */
    pthread_t thread;
    pthread_mutex_t lock; /* of the next three */
    pthread_cond_t change;
    bool quit;
    double deadline; /* once quit */
    /* the thread's own */
    uint64_t pushed; /* newest step that the branch has */
    bool began, whole;
    int failures;
    double not_before;
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ------------------------------------------------------------------ the child */

struct child {
    pid_t pid;
    int out, err;
    struct buf said, why; /* its stdout and stderr, cut */
};

static void close_pair(int v[2]) {
    if (v[0] >= 0) close(v[0]);
    if (v[1] >= 0) close(v[1]);
}

static int spawn(struct pusher *p, struct child *c, struct err *err) {
    const char *argv[12] = {"lmhub", "push", "-q", "--json", p->o.run, p->o.target};
    int n = 6, out[2] = {-1, -1}, errs[2] = {-1, -1};
    if (p->o.name) argv[n++] = "--run-name", argv[n++] = p->o.name;
    if (p->o.secret) argv[n++] = "--private";
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    if (pipe2(out, O_CLOEXEC) < 0 || pipe2(errs, O_CLOEXEC) < 0) {
        err_errno(err, "lmhub");
        close_pair(out);
        return ERR_IO;
    }
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, out[1], 1);
    posix_spawn_file_actions_adddup2(&files, errs[1], 2);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP);
    int no = posix_spawn(&c->pid, p->program, &files, &attr, (char *const *)argv, environ);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&files);
    close(out[1]);
    close(errs[1]);
    c->out = out[0];
    c->err = errs[0];
    if (!no) {
        setpriority(PRIO_PROCESS, (id_t)c->pid, NICE);
        return 0;
    }
    close(c->out);
    close(c->err);
    errno = no;
    return err_errno(err, "%s", p->program);
}

/* What the pipe brings; the last SAID_BYTES of it. False at its end. */
static bool listen_to(int fd, struct buf *to) {
    char v[4096];
    ssize_t n = read(fd, v, sizeof v);
    if (n < 0) return errno == EINTR;
    if (n == 0) return false;
    if (to->n + (size_t)n > SAID_BYTES) to->n = 0;
    buf_append(to, v, (size_t)n, NULL);
    return true;
}

/* Whether the pusher may not wait any longer. */
static bool out_of_time(struct pusher *p) {
    pthread_mutex_lock(&p->lock);
    bool late = p->quit && now() > p->deadline;
    pthread_mutex_unlock(&p->lock);
    return late;
}

/* Waits for the child's end, or ends it. Its exit code, or -1. */
static int attend(struct pusher *p, struct child *c) {
    bool out = true, err = true;
    int status = 0, asked = 0;
    while (out || err) {
        struct pollfd v[] = {{.fd = out ? c->out : -1, .events = POLLIN},
                             {.fd = err ? c->err : -1, .events = POLLIN}};
        if (poll(v, 2, 200) > 0) {
            if (v[0].revents) out = listen_to(c->out, &c->said);
            if (v[1].revents) err = listen_to(c->err, &c->why);
        }
        /* Asked to stop first; then, ten looks later, made to. */
        if (out_of_time(p) && (asked++ == 0 || asked == 10))
            kill(c->pid, asked == 1 ? SIGTERM : SIGKILL);
    }
    close(c->out);
    close(c->err);
    while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Its last line, without its name. */
static const char *last_line(struct buf *said) {
    while (said->n && strchr("\r\n ", said->v[said->n - 1])) said->n--;
    const char *text = said->n ? buf_cstr(said) : NULL;
    if (!text) return "lmhub ended without a word";
    const char *line = strrchr(text, '\n');
    line = line ? line + 1 : text;
    const char *colon = strncmp(line, "lmhub push: ", 12) ? line : line + 12;
    return colon;
}

/* ------------------------------------------------------------------ one push */

static uint64_t newest(const struct pusher *p) {
    struct u64s steps = {0};
    uint64_t step =
        checkpoint_list(p->o.run, &steps, NULL) == 0 && steps.n ? steps.v[steps.n - 1] : 0;
    u64s_release(&steps);
    return step;
}

static void say_done(struct pusher *p, struct buf *said, uint64_t step) {
    cJSON *tree = NULL;
    const char *branch = NULL, *repo = NULL;
    uint64_t commits = 0;
    if (json_parse(&tree, said->v, said->n, "lmhub", NULL) == 0 && cJSON_IsObject(tree)) {
        json_str(tree, "branch", &branch, "", NULL);
        json_str(tree, "repository", &repo, "", NULL);
        json_u64(tree, "commits", UINT64_MAX >> 11, &commits, "", NULL);
    }
    if (branch && repo && commits)
        log_info(p->o.log, "pushed step %llu to %s, branch %s", (unsigned long long)step, repo,
                 branch);
    else if (branch && repo && !p->began)
        log_info(p->o.log, "checkpoints will be pushed to %s, branch %s", repo, branch);
    cJSON_Delete(tree);
}

static void push_once(struct pusher *p, bool last) {
    struct child c = {0};
    struct err err = {0};
    uint64_t step = newest(p);
    int rc = spawn(p, &c, &err), code = rc == 0 ? attend(p, &c) : -1;
    if (rc == 0 && code == 0) {
        say_done(p, &c.said, step);
        p->pushed = step;
        p->began = true;
        p->failures = 0;
        p->whole = last;
    } else if (!out_of_time(p)) {
        double wait = fmin(FIRST_WAIT * exp2(p->failures), LONGEST_WAIT);
        if (last) wait = fmin(wait, FIRST_WAIT);
        p->failures++;
        p->not_before = now() + wait;
        log_warn(p->o.log, "pushing to %s failed: %s; again in %.0f s (training is not affected)",
                 p->o.target, rc < 0 ? err.msg : last_line(&c.why), wait);
    }
    buf_release(&c.said);
    buf_release(&c.why);
}

/* ------------------------------------------------------------------ the thread */

static bool run_exists(const struct pusher *p) {
    char *log = path_join(p->o.run, "log.txt");
    bool is = log && file_kind(log) == FILE_REGULAR;
    free(log);
    return is;
}

static void *watch(void *ctx) {
    struct pusher *p = ctx;
    for (;;) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += LOOK_SECONDS;
        pthread_mutex_lock(&p->lock);
        if (!p->quit) pthread_cond_timedwait(&p->change, &p->lock, &until);
        bool quit = p->quit, late = quit && now() > p->deadline;
        if (quit && signals_stop() && p->deadline > now() + STOP_SECONDS)
            p->deadline = now() + STOP_SECONDS;
        pthread_mutex_unlock(&p->lock);
        if (late || (quit && p->whole) || (quit && !run_exists(p))) return NULL;
        bool wanted = run_exists(p) && (quit || !p->began || newest(p) > p->pushed);
        if (wanted && now() >= p->not_before)
            push_once(p, quit);
        else if (quit)
            poll(NULL, 0, 100);
    }
}

static void pusher_free(struct pusher *p) {
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->change);
    free(p->program);
    free(p);
}

int pusher_new(struct pusher **ret, const struct pusher_opts *opts, struct err *err) {
    struct hub_ref ref;
    char self[4096];
    int rc = hub_ref_parse(&ref, opts->target, err);
    if (rc == 0 && (ref.dataset || *ref.path))
        rc = err_set(err, ERR_USAGE, "%s: a model goes to hf://NAMESPACE/NAME", opts->target);
    hub_ref_release(&ref);
    if (rc < 0) return err_prefix(err, "--push-to");
    struct pusher *p = calloc(1, sizeof *p);
    if (!p) return err_nomem(err, sizeof *p);
    p->o = *opts;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->change, NULL);
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = 0;
    char *dir = path_dir(self);
    p->program = dir ? path_join(dir, "lmhub") : NULL;
    free(dir);
    if (p->program && access(p->program, X_OK) == 0) {
        *ret = p;
        return 0;
    }
    pusher_free(p);
    return err_set(err, ERR_USAGE, "--push-to: lmhub does not lie beside this program (%s)", self);
}

int pusher_start(struct pusher *p, struct err *err) {
    int no = pthread_create(&p->thread, NULL, watch, p);
    p->started = !no;
    errno = no;
    return no ? err_errno(err, "--push-to: cannot start a thread") : 0;
}

/* Lets the thread push the rest, and ends it. */
static void finish_thread(struct pusher *p, double seconds) {
    if (signals_stop()) seconds = fmin(seconds, STOP_SECONDS);
    pthread_mutex_lock(&p->lock);
    p->quit = true;
    p->deadline = now() + seconds;
    pthread_cond_signal(&p->change);
    pthread_mutex_unlock(&p->lock);
    pthread_join(p->thread, NULL);
    if (!p->whole && run_exists(p))
        log_warn(p->o.log, "not everything was pushed; lmhub push %s %s goes on", p->o.run,
                 p->o.target);
}

void pusher_finish(struct pusher *p, double seconds) {
    if (!p) return;
    if (p->started) finish_thread(p, seconds);
    pusher_free(p);
}
