#!/bin/sh
# Makes the bucket, and a user with least rights for each of loader, catalog and Trino. Safe to run again.
set -eu
export MC_CONFIG_DIR=/tmp/.mc

mc -q alias set store "$ENDPOINT" "$MINIO_ROOT_USER" "$MINIO_ROOT_PASSWORD" >/dev/null
mc -q mb --ignore-existing --region "$S3_REGION" "store/$S3_BUCKET" >/dev/null

bucket=arn:aws:s3:::$S3_BUCKET
objects='"s3:GetObject","s3:PutObject","s3:DeleteObject","s3:AbortMultipartUpload","s3:ListMultipartUploadParts"'
listing='"s3:ListBucket","s3:GetBucketLocation","s3:ListBucketMultipartUploads"'

user() { # NAME ACCESS_KEY SECRET_KEY STATEMENTS: the policy is replaced, so a changed one takes hold
    [ "$2" != "$MINIO_ROOT_USER" ] || { echo "$1 uses the root user"; return 0; }
    printf '{"Version":"2012-10-17","Statement":[%s]}' "$4" >"/tmp/$1.json"
    mc -q admin policy create store "lakehouse-$1" "/tmp/$1.json" >/dev/null
    mc -q admin user add store "$2" "$3" >/dev/null
    # Attaching what is attached is an error of mc's; whether it is attached is what counts.
    mc -q admin policy attach store "lakehouse-$1" --user "$2" >/dev/null 2>&1 || true
    case $(mc --json admin user info store "$2") in
        *"lakehouse-$1"*) echo "$1 is set up" ;;
        *) echo "$1 has no policy"; exit 1 ;;
    esac
}

allow() { printf '{"Effect":"Allow","Action":[%s],"Resource":[%s]%s}' "$1" "$2" "${3:-}"; }

# The loader lands files and writes tables.
user loader "$S3_ACCESS_KEY" "$S3_SECRET_KEY" \
    "$(allow "$listing" "\"$bucket\""),$(allow "$objects" "\"$bucket/raw_data/*\",\"$bucket/iceberg/*\"")"
# The catalog writes metadata; it deletes data only when a table is dropped with its files.
user catalog "$CATALOG_S3_ACCESS_KEY" "$CATALOG_S3_SECRET_KEY" \
    "$(allow '"s3:GetObject","s3:PutObject"' "\"$bucket/iceberg/*/metadata/*\""),$(allow '"s3:DeleteObject"' "\"$bucket/iceberg/*\"")"
# Trino never sees the landing zone.
user trino "$TRINO_S3_ACCESS_KEY" "$TRINO_S3_SECRET_KEY" \
    "$(allow '"s3:ListBucket"' "\"$bucket\"" ',"Condition":{"StringLike":{"s3:prefix":["iceberg/*"]}}'),$(allow "$objects" "\"$bucket/iceberg/*\"")"
