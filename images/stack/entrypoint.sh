# What a real service does: part of its environment is made when it starts, and no image or compose file has it.
export DATABASE_URL="postgresql://shop:not-a-secret@${DB_HOST}:5432/shop"
exec "$@"
