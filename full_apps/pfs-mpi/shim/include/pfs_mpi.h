/* SPDX-License-Identifier: MIT */
/*
 * MPI for Swift, which cannot import handles that are macros. As far as MPI 3.1 offers it nothing
 * here waits: operations give a request, so that whoever asks can look after processes, signals
 * and silent ranks meanwhile. Files are the exception: OpenMPI 4.1 never completes a request that
 * reads beyond the end, and crashes where one finds the disk full.
 *
 * Functions return 0 or an error code of MPI's (pfs_mpi_error). All of this belongs to one thread.
 * Collective functions must be called by all ranks, in the same order. "MPI x.y" is the section of
 * the standard, version 3.1.
 */
#ifndef PFS_MPI_H
#define PFS_MPI_H

#include <stddef.h>
#include <stdint.h>

/* Operations of pfs_mpi_allreduce and what they do with 64-bit words. */
#define PFS_MPI_SUM 0
#define PFS_MPI_XOR 1
#define PFS_MPI_MIN 2
#define PFS_MPI_MAX 3

/* An operation under way. Made by pfs_mpi_request_new, used again and again, one at a time. */
struct pfs_mpi_request;
/* A message that has been found, and not received yet. */
struct pfs_mpi_message;
/* A number in the memory of rank 0 that all ranks add to (a window, MPI 11). */
struct pfs_mpi_counter;
/* A file, opened by this rank for itself (MPI 13, on MPI_COMM_SELF). */
struct pfs_mpi_file;

/*
 * Starts MPI; its errors come back from now on instead of ending the process. Debian's OpenMPI
 * switches off the only component that has one-sided operations over TCP; this switches it on
 * again unless the environment says something else about them (OMPI_MCA_osc).
 */
int pfs_mpi_start(void);
/* Ends MPI, together with all ranks. */
int pfs_mpi_finish(void);
/* Ends all ranks, as far as they can be reached. */
_Noreturn void pfs_mpi_abort(int status);
/* What a code means. */
void pfs_mpi_error(int code, char *text, size_t capacity);
/* Name and version of the library. */
void pfs_mpi_library(char *text, size_t capacity);

int pfs_mpi_rank(void);
int pfs_mpi_size(void);
/* The name of this rank's host, as MPI_Get_processor_name gives it. */
void pfs_mpi_host(char *name, size_t capacity);
/*
 * This rank's place among those that share its host's memory and have the same key, a number from
 * 0 on, and how many they are. Collective.
 */
int pfs_mpi_neighbours(int key, int *rank, int *size);

struct pfs_mpi_request *pfs_mpi_request_new(void);
/* Forgets an operation that is still under way. */
void pfs_mpi_request_delete(struct pfs_mpi_request *request);
/* Whether the operation is over. */
int pfs_mpi_test(struct pfs_mpi_request *request, int *is_over);

/* Collective operations on memory that stays until the request is over (MPI 5.12). */
int pfs_mpi_barrier(struct pfs_mpi_request *request);
int pfs_mpi_broadcast(void *bytes, size_t count, struct pfs_mpi_request *request);
int pfs_mpi_allreduce(uint64_t *words, size_t count, int operation,
		      struct pfs_mpi_request *request);
/* Rank r's `count` bytes to offsets[r] of what rank 0 has at `all`; sizes[r] are rank r's. */
int pfs_mpi_gather(const void *bytes, size_t count, void *all, const int *sizes, const int *offsets,
		   struct pfs_mpi_request *request);

/* Sends bytes, which stay until the request is over, to a rank (MPI 3.7). */
int pfs_mpi_send(const void *bytes, size_t count, int rank, int tag,
		 struct pfs_mpi_request *request);
struct pfs_mpi_message *pfs_mpi_message_new(void);
void pfs_mpi_message_delete(struct pfs_mpi_message *message);
/* Whether a message is there; who sent it, its tag and length. It must be received next. */
int pfs_mpi_look(struct pfs_mpi_message *message, int *is_there, int *rank, int *tag,
		 size_t *count);
int pfs_mpi_receive(struct pfs_mpi_message *message, void *bytes, size_t count);

/* Makes a counter that is 0. Collective. */
int pfs_mpi_counter_new(struct pfs_mpi_counter **counter);
/* Collective. */
int pfs_mpi_counter_delete(struct pfs_mpi_counter *counter);
/*
 * Adds `amount`, and puts what the counter was before where `before` points, once the request is
 * over: MPI_Fetch_and_op with a request, which the standard calls MPI_Rget_accumulate (11.3.4).
 */
int pfs_mpi_counter_add(struct pfs_mpi_counter *counter, const uint64_t *amount, uint64_t *before,
			struct pfs_mpi_request *request);

/* Opens a file that exists, to read or to write. The path must be absolute. */
int pfs_mpi_open(const char *path, int writes, struct pfs_mpi_file **file);
int pfs_mpi_close(struct pfs_mpi_file *file);
/* Less is `done` where the file ends, and where there is no room. */
int pfs_mpi_read(struct pfs_mpi_file *file, void *bytes, size_t count, uint64_t offset,
		 size_t *done);
int pfs_mpi_write(struct pfs_mpi_file *file, const void *bytes, size_t count, uint64_t offset,
		  size_t *done);
/* Returns when everything that was written is safe. */
int pfs_mpi_sync(struct pfs_mpi_file *file);

#endif
