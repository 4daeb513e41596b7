// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * virtio.c - the way to the host: the balloon device's reporting queue
 *
 * A driver for that one feature: it does not inflate, and hands out no statistics. The other
 * features that come with a queue are accepted all the same, because the number of the reporting
 * queue follows from them (QEMU: inflate, deflate, stats, reporting).
 *
 * A kernel that fills free pages with a pattern relies on finding it again; a host that discards
 * them must know. So reporting is refused where such a kernel meets a host without PAGE_POISON.
 *
 * report() is called by the reporter's thread, may sleep, and returns when the host has answered
 * (0), could not be asked (-EOPNOTSUPP, -EIO, or what the queue said: nothing was sent), or has
 * neither answered within timeout_ms (-ETIMEDOUT) nor can any more (-EIO). In the last two cases
 * the device is reset first, after which it holds no pages; it stays off until it is bound anew. So
 * whatever report() returns, the pages are the caller's again.
 *
 * One mutex covers a report and the device's coming and going: a device is not unbound while a
 * report is under way, which takes timeout_ms at most.
 */
#include "module.h"

#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/poison.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/virtio.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <linux/wait.h>

#define FPTK_MAX_QUEUES 5

struct fptk_device {
	struct virtio_device *vdev;
	struct virtqueue *vq;
	wait_queue_head_t acked;
	unsigned int capacity;			/* ranges per report */
	struct scatterlist sg[FPT_BATCH_MAX];
};

static DEFINE_MUTEX(fptk_device_lock);
static struct fptk_device *fptk_device;		/* NULL: none, or it was given up */

static void fptk_acked(struct virtqueue *vq)
{
	struct fptk_device *d = vq->vdev->priv;

	wake_up(&d->acked);
}

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 11, 0)
static int fptk_find_vqs(struct virtio_device *vdev, unsigned int nr, struct virtqueue **vqs,
			 const char *const *names)
{
	struct virtqueue_info info[FPTK_MAX_QUEUES] = {};
	unsigned int i;

	for (i = 0; i < nr; i++)
		info[i].name = names[i];
	info[nr - 1].callback = fptk_acked;
	return virtio_find_vqs(vdev, nr, vqs, info, NULL);
}
#else
static int fptk_find_vqs(struct virtio_device *vdev, unsigned int nr, struct virtqueue **vqs,
			 const char *const *names)
{
	vq_callback_t *callbacks[FPTK_MAX_QUEUES] = {};

	callbacks[nr - 1] = fptk_acked;
	return virtio_find_vqs(vdev, nr, vqs, callbacks, names, NULL);
}
#endif

/* The reporting queue comes last, behind those of the features that were negotiated. */
static int fptk_find_queue(struct fptk_device *d)
{
	const char *names[FPTK_MAX_QUEUES];
	struct virtqueue *vqs[FPTK_MAX_QUEUES];
	unsigned int nr = 0;
	int error;

	names[nr++] = "inflate";
	names[nr++] = "deflate";
#ifndef FPT_MUTANT_WRONG_QUEUE	/* with it, nobody ever answers */
	if (virtio_has_feature(d->vdev, VIRTIO_BALLOON_F_STATS_VQ))
		names[nr++] = "stats";
	if (virtio_has_feature(d->vdev, VIRTIO_BALLOON_F_FREE_PAGE_HINT))
		names[nr++] = "free_page";
#endif
	names[nr++] = "reporting";
	error = fptk_find_vqs(d->vdev, nr, vqs, names);
	if (error)
		return error;
	d->vq = vqs[nr - 1];
	d->capacity = min_t(unsigned int, virtqueue_get_vring_size(d->vq), FPT_BATCH_MAX);
	return 0;
}

static int fptk_device_on(struct fptk_device *d)
{
	int error = fptk_find_queue(d);

	if (error)
		return error;
	if (virtio_has_feature(d->vdev, VIRTIO_BALLOON_F_PAGE_POISON)) {
		u32 poison = 0;

		if (!want_init_on_free())
			memset(&poison, PAGE_POISON, sizeof(poison));
		virtio_cwrite_le(d->vdev, struct virtio_balloon_config, poison_val, &poison);
	}
	virtio_device_ready(d->vdev);
	mutex_lock(&fptk_device_lock);
	if (fptk_device)
		dev_warn(&d->vdev->dev, "one reporting device is enough; this one is not used\n");
	else
		fptk_device = d;
	mutex_unlock(&fptk_device_lock);
	fptk_reporter_wake();
	return 0;
}

static void fptk_device_off(struct fptk_device *d)
{
	mutex_lock(&fptk_device_lock);
	if (fptk_device == d)
		fptk_device = NULL;
	mutex_unlock(&fptk_device_lock);
	virtio_reset_device(d->vdev);
	d->vdev->config->del_vqs(d->vdev);
}

static int fptk_validate(struct virtio_device *vdev)
{
	if (!want_init_on_free() && !page_poisoning_enabled_static())
		__virtio_clear_bit(vdev, VIRTIO_BALLOON_F_PAGE_POISON);
	else if (!virtio_has_feature(vdev, VIRTIO_BALLOON_F_PAGE_POISON))
		__virtio_clear_bit(vdev, VIRTIO_BALLOON_F_REPORTING);
	/* Indirect descriptors are allocated, and memory may be short. */
	__virtio_clear_bit(vdev, VIRTIO_RING_F_INDIRECT_DESC);
	/* Pages are named by where the guest has them, as for inflating. */
	__virtio_clear_bit(vdev, VIRTIO_F_ACCESS_PLATFORM);
	return 0;
}

static int fptk_probe(struct virtio_device *vdev)
{
	struct fptk_device *d;
	int error;

	if (!virtio_has_feature(vdev, VIRTIO_BALLOON_F_REPORTING)) {
		dev_info(&vdev->dev, "free page reporting is not offered, or pages are poisoned\n");
		return -ENODEV;
	}
	d = kzalloc(sizeof(*d), GFP_KERNEL);
	if (!d)
		return -ENOMEM;
	d->vdev = vdev;
	vdev->priv = d;
	init_waitqueue_head(&d->acked);
	error = fptk_device_on(d);
	if (error)
		kfree(d);
	return error;
}

static void fptk_remove(struct virtio_device *vdev)
{
	struct fptk_device *d = vdev->priv;

	fptk_device_off(d);
	kfree(d);
}

#ifdef CONFIG_PM_SLEEP
static int fptk_freeze(struct virtio_device *vdev)
{
	fptk_device_off(vdev->priv);
	return 0;
}

static int fptk_restore(struct virtio_device *vdev)
{
	return fptk_device_on(vdev->priv);
}
#endif

bool fptk_virtio_ready(void)
{
	return READ_ONCE(fptk_device);
}

/* Sent: wait for the answer. */
static int fptk_wait(struct fptk_device *d)
{
	unsigned int len;
	long left;

	left = wait_event_timeout(d->acked,
				  virtqueue_get_buf(d->vq, &len) || virtqueue_is_broken(d->vq),
				  msecs_to_jiffies(READ_ONCE(fptk_settings.timeout_ms)));
	if (left && !virtqueue_is_broken(d->vq))
		return 0;
	dev_err(&d->vdev->dev, "the host %s; device reset, no more reports\n",
		left ? "broke the queue" : "does not answer");
	virtio_reset_device(d->vdev);
	fptk_device = NULL;
	return left ? -EIO : -ETIMEDOUT;
}

static int fptk_send(struct fptk_device *d, const struct fpt_range *range, unsigned int nr)
{
	unsigned int i;
	int error;

	sg_init_table(d->sg, nr);
	for (i = 0; i < nr; i++)
		sg_set_page(&d->sg[i], pfn_to_page(range[i].pfn), range[i].nr << PAGE_SHIFT, 0);
	error = virtqueue_add_inbuf(d->vq, d->sg, nr, d, GFP_NOWAIT | __GFP_NOWARN);
	if (error)
		return error;
	virtqueue_kick(d->vq);
	return fptk_wait(d);
}

int fptk_virtio_report(const struct fpt_batch *b)
{
	unsigned int i, nr;
	int error = 0;

	mutex_lock(&fptk_device_lock);
	if (!fptk_device)
		error = -EOPNOTSUPP;
	for (i = 0; i < b->nr && !error; i += nr) {
		nr = min(b->nr - i, fptk_device->capacity);
		error = fptk_send(fptk_device, &b->range[i], nr);
	}
	mutex_unlock(&fptk_device_lock);
	return error;
}

static const struct virtio_device_id fptk_ids[] = {
	{ VIRTIO_ID_BALLOON, VIRTIO_DEV_ANY_ID },
	{ 0 },
};

static const unsigned int fptk_features[] = {
	VIRTIO_BALLOON_F_STATS_VQ,
	VIRTIO_BALLOON_F_FREE_PAGE_HINT,
	VIRTIO_BALLOON_F_PAGE_POISON,
	VIRTIO_BALLOON_F_REPORTING,
};

static struct virtio_driver fptk_driver = {
	.feature_table = fptk_features,
	.feature_table_size = ARRAY_SIZE(fptk_features),
	.driver.name = KBUILD_MODNAME,
	.driver.owner = THIS_MODULE,
	.id_table = fptk_ids,
	.validate = fptk_validate,
	.probe = fptk_probe,
	.remove = fptk_remove,
#ifdef CONFIG_PM_SLEEP
	.freeze = fptk_freeze,
	.restore = fptk_restore,
#endif
};

int fptk_virtio_init(void)
{
	return register_virtio_driver(&fptk_driver);
}

void fptk_virtio_exit(void)
{
	unregister_virtio_driver(&fptk_driver);
}
