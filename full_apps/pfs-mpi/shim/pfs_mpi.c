// SPDX-License-Identifier: MIT
#include "pfs_mpi.h"

#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pfs_mpi_request {
	MPI_Request handle;
};

struct pfs_mpi_message {
	MPI_Message handle;
};

struct pfs_mpi_counter {
	MPI_Win window;
};

struct pfs_mpi_file {
	MPI_File handle;
};

int pfs_mpi_start(void)
{
	int given;
	int code;

	setenv("OMPI_MCA_osc", "^ucx", 0);
	code = MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &given);

	if (code)
		return code;
	MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
	return MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN);
}

int pfs_mpi_finish(void)
{
	return MPI_Finalize();
}

void pfs_mpi_abort(int status)
{
	MPI_Abort(MPI_COMM_WORLD, status);
	_Exit(status);
}

void pfs_mpi_error(int code, char *text, size_t capacity)
{
	char whole[MPI_MAX_ERROR_STRING];
	int length;

	if (MPI_Error_string(code, whole, &length))
		snprintf(whole, sizeof(whole), "MPI error %d", code);
	snprintf(text, capacity, "%s", whole);
}

void pfs_mpi_library(char *text, size_t capacity)
{
	char whole[MPI_MAX_LIBRARY_VERSION_STRING];
	int length;

	MPI_Get_library_version(whole, &length);
	snprintf(text, capacity, "%.*s", (int)strcspn(whole, ",\n"), whole);
}

int pfs_mpi_rank(void)
{
	int rank = 0;

	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	return rank;
}

int pfs_mpi_size(void)
{
	int size = 1;

	MPI_Comm_size(MPI_COMM_WORLD, &size);
	return size;
}

void pfs_mpi_host(char *name, size_t capacity)
{
	char whole[MPI_MAX_PROCESSOR_NAME];
	int length;

	MPI_Get_processor_name(whole, &length);
	snprintf(name, capacity, "%s", whole);
}

int pfs_mpi_neighbours(int key, int *rank, int *size)
{
	MPI_Comm host, alike;
	int code;

	code = MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host);
	if (code)
		return code;
	code = MPI_Comm_split(host, key, 0, &alike);
	MPI_Comm_free(&host);
	if (code)
		return code;
	MPI_Comm_rank(alike, rank);
	MPI_Comm_size(alike, size);
	return MPI_Comm_free(&alike);
}

struct pfs_mpi_request *pfs_mpi_request_new(void)
{
	struct pfs_mpi_request *request = malloc(sizeof(*request));

	if (!request)
		abort();
	request->handle = MPI_REQUEST_NULL;
	return request;
}

void pfs_mpi_request_delete(struct pfs_mpi_request *request)
{
	free(request);
}

int pfs_mpi_test(struct pfs_mpi_request *request, int *is_over)
{
	return MPI_Test(&request->handle, is_over, MPI_STATUS_IGNORE);
}

int pfs_mpi_barrier(struct pfs_mpi_request *request)
{
	return MPI_Ibarrier(MPI_COMM_WORLD, &request->handle);
}

int pfs_mpi_broadcast(void *bytes, size_t count, struct pfs_mpi_request *request)
{
	return MPI_Ibcast(bytes, (int)count, MPI_BYTE, 0, MPI_COMM_WORLD, &request->handle);
}

int pfs_mpi_allreduce(uint64_t *words, size_t count, int operation, struct pfs_mpi_request *request)
{
	MPI_Op operations[] = {MPI_SUM, MPI_BXOR, MPI_MIN, MPI_MAX};

	return MPI_Iallreduce(MPI_IN_PLACE, words, (int)count, MPI_UINT64_T, operations[operation],
			      MPI_COMM_WORLD, &request->handle);
}

int pfs_mpi_gather(const void *bytes, size_t count, void *all, const int *sizes, const int *offsets,
		   struct pfs_mpi_request *request)
{
	return MPI_Igatherv(bytes, (int)count, MPI_BYTE, all, sizes, offsets, MPI_BYTE, 0,
			    MPI_COMM_WORLD, &request->handle);
}

int pfs_mpi_send(const void *bytes, size_t count, int rank, int tag,
		 struct pfs_mpi_request *request)
{
	return MPI_Isend(bytes, (int)count, MPI_BYTE, rank, tag, MPI_COMM_WORLD, &request->handle);
}

struct pfs_mpi_message *pfs_mpi_message_new(void)
{
	struct pfs_mpi_message *message = malloc(sizeof(*message));

	if (!message)
		abort();
	message->handle = MPI_MESSAGE_NULL;
	return message;
}

void pfs_mpi_message_delete(struct pfs_mpi_message *message)
{
	free(message);
}

int pfs_mpi_look(struct pfs_mpi_message *message, int *is_there, int *rank, int *tag, size_t *count)
{
	MPI_Status status;
	int bytes = 0;
	int code = MPI_Improbe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, is_there,
			       &message->handle, &status);

	if (code || !*is_there)
		return code;
	code = MPI_Get_count(&status, MPI_BYTE, &bytes);
	*rank = status.MPI_SOURCE;
	*tag = status.MPI_TAG;
	*count = (size_t)bytes;
	return code;
}

int pfs_mpi_receive(struct pfs_mpi_message *message, void *bytes, size_t count)
{
	return MPI_Mrecv(bytes, (int)count, MPI_BYTE, &message->handle, MPI_STATUS_IGNORE);
}

int pfs_mpi_counter_new(struct pfs_mpi_counter **counter)
{
	struct pfs_mpi_counter *made = malloc(sizeof(*made));
	MPI_Aint size = pfs_mpi_rank() == 0 ? sizeof(uint64_t) : 0;
	uint64_t *memory = NULL;
	int code;

	if (!made)
		return MPI_ERR_NO_MEM;
	code = MPI_Win_allocate(size, sizeof(uint64_t), MPI_INFO_NULL, MPI_COMM_WORLD, &memory,
				&made->window);
	if (code) {
		free(made);
		return code;
	}
	MPI_Win_set_errhandler(made->window, MPI_ERRORS_RETURN);
	if (size)
		*memory = 0;
	*counter = made;
	/* From here to the end everybody may add (passive target, MPI 11.5.3). */
	code = MPI_Win_lock_all(0, made->window);
	if (!code)
		code = MPI_Win_sync(made->window);
	return code ? code : MPI_Barrier(MPI_COMM_WORLD);
}

int pfs_mpi_counter_delete(struct pfs_mpi_counter *counter)
{
	int code = MPI_Win_unlock_all(counter->window);

	if (!code)
		code = MPI_Win_free(&counter->window);
	free(counter);
	return code;
}

int pfs_mpi_counter_add(struct pfs_mpi_counter *counter, const uint64_t *amount, uint64_t *before,
			struct pfs_mpi_request *request)
{
	return MPI_Rget_accumulate(amount, 1, MPI_UINT64_T, before, 1, MPI_UINT64_T, 0, 0, 1,
				   MPI_UINT64_T, MPI_SUM, counter->window, &request->handle);
}

int pfs_mpi_open(const char *path, int writes, struct pfs_mpi_file **file)
{
	struct pfs_mpi_file *made = malloc(sizeof(*made));
	int code;

	if (!made)
		return MPI_ERR_NO_MEM;
	code = MPI_File_open(MPI_COMM_SELF, path, writes ? MPI_MODE_WRONLY : MPI_MODE_RDONLY,
			     MPI_INFO_NULL, &made->handle);
	if (code) {
		free(made);
		return code;
	}
	*file = made;
	return MPI_SUCCESS;
}

int pfs_mpi_close(struct pfs_mpi_file *file)
{
	int code = MPI_File_close(&file->handle);

	free(file);
	return code;
}

int pfs_mpi_read(struct pfs_mpi_file *file, void *bytes, size_t count, uint64_t offset,
		 size_t *done)
{
	MPI_Status status;
	int got = 0;
	int code = MPI_File_read_at(file->handle, (MPI_Offset)offset, bytes, (int)count, MPI_BYTE,
				    &status);

	if (!code)
		code = MPI_Get_count(&status, MPI_BYTE, &got);
	*done = got > 0 ? (size_t)got : 0;
	return code;
}

int pfs_mpi_write(struct pfs_mpi_file *file, const void *bytes, size_t count, uint64_t offset,
		  size_t *done)
{
	MPI_Status status;
	int put = 0;
	int code = MPI_File_write_at(file->handle, (MPI_Offset)offset, bytes, (int)count, MPI_BYTE,
				     &status);

	if (!code)
		code = MPI_Get_count(&status, MPI_BYTE, &put);
	*done = put > 0 ? (size_t)put : 0;
	return code;
}

int pfs_mpi_sync(struct pfs_mpi_file *file)
{
	return MPI_File_sync(file->handle);
}
