"""Reading data: decoding images, folders of them, endless resumable batches, augmentation, text as bytes."""
